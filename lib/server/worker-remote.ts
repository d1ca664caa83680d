/**
 * The worker's end of what all workers share (worker-authority.ts): the same interfaces as where one process
 * counts for itself, by asking the supervisor.
 */
import type {
  Account,
  Authenticator,
  Peer,
  Proof,
  ProofMethod,
  ProofVerdict,
  Provable,
  ScramChallenge,
  ScramMethod,
  Verdict,
} from '../pop3/ports.js';
import type { Admission, KeyedPlaces, Place } from './limits.js';
import type { Attempt, Attempts, Found, PasswordLogin } from './throttle.js';
import { type Channel, readError } from './worker-channel.js';
import { countOf, type Head } from './worker-frames.js';

/** Milliseconds for which the methods worth being offered are not asked for again. */
const PROVABLE_FOR = 1000;

const NOTHING = new Uint8Array();

/** Once the supervisor is gone nobody is served any more. */
const STOPPING = 'the server is being stopped';

export class RemoteAdmission implements Admission {
  #total = 0;
  #asking = 0;

  /** @param most connections of all workers together */
  constructor(
    private readonly channel: Channel,
    private readonly most: number,
  ) {}

  get total(): number {
    return this.#total;
  }

  /** Never rejects. */
  async enter(address: string | undefined): Promise<Place | { readonly refused: string }> {
    const { channel } = this;
    // Who waits for an answer has a descriptor: of a flood, no more than were let in.
    if (this.#total + this.#asking >= this.most) return { refused: 'too many connections' };
    this.#asking++;
    try {
      const { head } = await channel.call('enter', { address });
      if (head.refused !== undefined) return { refused: String(head.refused) };
      const { place } = head;
      this.#total++;
      return {
        countFor: from => countFor(channel, place, from),
        leave: () => {
          this.#total--;
          channel.tell('leave', { place });
        },
      };
    } catch {
      return { refused: STOPPING };
    } finally {
      this.#asking--;
    }
  }
}

async function countFor(channel: Channel, place: unknown, address: string): Promise<string | undefined> {
  try {
    const { refused } = (await channel.call('count', { place, address })).head;
    return refused === undefined ? undefined : String(refused);
  } catch {
    return STOPPING;
  }
}

export class RemoteUsers implements KeyedPlaces {
  constructor(private readonly channel: Channel) {}

  /** @throws Unavailable */
  async enter(user: string): Promise<(() => void) | undefined> {
    return leaveUser(this.channel, (await this.channel.call('user', { user })).head);
  }
}

export class RemoteThrottle implements Attempts {
  constructor(private readonly channel: Channel) {}

  /** @throws Unavailable */
  async begin(address: string, user: Uint8Array, login?: PasswordLogin): Promise<Attempt | undefined> {
    const octets = Buffer.concat([user, login?.password ?? NOTHING]);
    const { head } = await this.channel.call(
      'begin',
      { address, ...login?.peer, length: user.length },
      octets,
    );
    octets.fill(0);
    if (head.attempt !== undefined) return this.#waiting(head);
    const isOver = [head.account, head.refused, head.trouble].some(what => what !== undefined);
    return isOver ? new CheckedAttempt(this.channel, head) : undefined;
  }

  /** One that is still to be checked. */
  #waiting({ attempt, wait }: Head): Attempt {
    let over = false;
    const end = (how: 'failed' | 'succeeded' | 'abandoned') => () => {
      if (!over) this.channel.tell(how, { attempt });
      over = true;
    };
    return {
      wait: countOf({ wait: Math.ceil(Number(wait)) }, 'wait'),
      failed: end('failed'),
      succeeded: end('succeeded'),
      abandoned: end('abandoned'),
    };
  }
}

/** One that the supervisor has ended by checking the password, and has counted its user in. */
class CheckedAttempt implements Attempt, Found {
  readonly wait = 0;
  readonly found = this;
  #leave: (() => void) | undefined;

  constructor(
    channel: Channel,
    private readonly head: Head,
  ) {
    this.#leave = leaveUser(channel, head);
  }

  verdict(): ProofVerdict {
    if (this.head.trouble !== undefined) throw readError(this.head.trouble as Head);
    return verdictOf(this.head);
  }

  enter(): (() => void) | undefined {
    const leave = this.#leave;
    this.#leave = undefined;
    return leave;
  }

  failed(): void {}

  succeeded(): void {}

  /** The client has left meanwhile, if nobody has entered. */
  abandoned(): void {
    this.enter()?.();
  }
}

export class RemoteAuthenticator implements Authenticator {
  #provable: { readonly answer: Promise<Provable>; readonly until: number } | undefined;

  constructor(private readonly channel: Channel) {}

  async checkPassword(user: Uint8Array, password: Uint8Array, peer: Peer): Promise<Verdict> {
    const octets = Buffer.concat([user, password]);
    try {
      const { head } = await this.channel.call('password', { ...peer, length: user.length }, octets);
      return verdictOf(head);
    } finally {
      octets.fill(0);
    }
  }

  async checkProof(proof: Proof, peer: Peer): Promise<ProofVerdict> {
    const { method, user } = proof;
    const about = { ...peer, method, length: user.length };
    const { head, octets } =
      'digest' in proof
        ? await this.channel.call(
            'proof',
            { ...about, challenge: proof.challenge, digest: proof.digest },
            user,
          )
        : await this.channel.call(
            'proof',
            { ...about, messageLength: proof.authMessage.length },
            Buffer.concat([user, proof.authMessage, proof.clientProof]),
          );
    const verdict = verdictOf(head);
    if ('refused' in verdict || octets.length === 0) return verdict;
    return { ...verdict, serverSignature: Buffer.from(octets) };
  }

  /** Each login wants to know, and it changes with the users file only. */
  provable(): Promise<Provable> {
    const now = performance.now();
    if (this.#provable === undefined || this.#provable.until <= now) {
      const answer = this.#askProvable();
      answer.catch(() => {
        this.#provable = undefined;
      });
      this.#provable = { answer, until: now + PROVABLE_FOR };
    }
    return this.#provable.answer;
  }

  async #askProvable(): Promise<Provable> {
    const { all, some } = (await this.channel.call('provable')).head;
    return { all: new Set(all as ProofMethod[]), some: new Set(some as ProofMethod[]) };
  }

  async scramChallenge(method: ScramMethod, user: Uint8Array, peer: Peer): Promise<ScramChallenge> {
    const { head, octets } = await this.channel.call('scram', { ...peer, method }, user);
    return { salt: Buffer.from(octets), iterations: countOf(head, 'iterations') };
  }
}

/** For a user's place in the answer, if there is one. */
function leaveUser(channel: Channel, { place }: Head): (() => void) | undefined {
  return place === undefined ? undefined : () => channel.tell('leave-user', { place });
}

function verdictOf({ account, refused }: Head): Verdict {
  return account === undefined ? { refused: String(refused) } : { account: account as Account };
}

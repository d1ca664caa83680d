/**
 * The worker's end of what all workers share (worker-authority.ts): the same interfaces as where one process
 * counts for itself, by asking the supervisor.
 */
import type { Credentials } from '../pop3/authorization.js';
import type {
  Account,
  Challenger,
  Peer,
  ProofMethod,
  Provable,
  ScramChallenge,
  ScramMethod,
} from '../pop3/ports.js';
import type { Admission, MaybeLater, Place } from './limits.js';
import type { LoginAttempt, Logins, Outcome } from './logins.js';
import type { Channel } from './worker-channel.js';
import { writeCredentials } from './worker-credentials.js';
import { countOf, type Head } from './worker-frames.js';

/** Milliseconds for which the methods worth being offered are not asked for again. */
const PROVABLE_FOR = 1000;

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
    // Who waits for an answer has a descriptor: of a flood, no more than were let in.
    if (this.#total + this.#asking >= this.most) return { refused: 'too many connections' };
    this.#asking++;
    try {
      const { head } = await this.channel.call('enter', { address });
      if (head.refused !== undefined) return { refused: String(head.refused) };
      this.#total++;
      return new RemotePlace(this.channel, countOf(head, 'place'), () => {
        this.#total--;
      });
    } catch {
      return { refused: STOPPING };
    } finally {
      this.#asking--;
    }
  }
}

/** A connection by the number that the supervisor gave it. */
class RemotePlace implements Place {
  constructor(
    private readonly channel: Channel,
    private readonly number: number,
    private readonly left: () => void,
  ) {}

  async countFor(address: string): Promise<string | undefined> {
    try {
      const { refused } = (await this.channel.call('count', { place: this.number, address })).head;
      return refused === undefined ? undefined : String(refused);
    } catch {
      return STOPPING;
    }
  }

  leave(): void {
    this.left();
    this.tell('leave');
  }

  tell(name: 'leave' | 'leave-user' | 'abandoned'): void {
    this.channel.tell(name, { place: this.number });
  }

  /** @throws Unavailable */
  async ask(name: 'begin' | 'check', about: Head, credentials: Credentials) {
    const { head, octets } = writeCredentials(credentials);
    try {
      return await this.channel.call(name, { ...about, ...head, place: this.number }, octets);
    } finally {
      octets.fill(0);
    }
  }
}

/** Those of connections that were let in by a `RemoteAdmission`, whose address the supervisor knows from then. */
export const remoteLogins: Logins = {
  async begin({ port, via }: Peer, credentials: Credentials, place: Place | undefined) {
    if (!(place instanceof RemotePlace)) throw new Error('a login of a connection that was not counted in');
    const answer = await place.ask('begin', { port, via }, credentials);
    return answer.head.full === true ? undefined : new RemoteAttempt(place, answer);
  },
};

/** What the supervisor need not make wait is checked when it is begun. */
class RemoteAttempt implements LoginAttempt {
  readonly wait: number;
  #outcome: Outcome | undefined;
  /** Whether it waits for us. */
  #waiting: boolean;
  #entered = false;

  constructor(
    private readonly place: RemotePlace,
    answer: { readonly head: Head; readonly octets: Buffer },
  ) {
    this.#waiting = answer.head.wait !== undefined;
    this.wait = this.#waiting ? countOf(answer.head, 'wait') : 0;
    if (!this.#waiting) this.#outcome = this.#outcomeOf(answer);
  }

  check(credentials: Credentials): MaybeLater<Outcome> {
    return this.#outcome ?? this.#check(credentials);
  }

  over(): void {
    if (this.#waiting) this.place.tell('abandoned');
    this.#waiting = false;
    this.#enter()?.();
  }

  async #check(credentials: Credentials): Promise<Outcome> {
    this.#waiting = false;
    return this.#outcomeOf(await this.place.ask('check', {}, credentials));
  }

  #outcomeOf({ head, octets }: { readonly head: Head; readonly octets: Buffer }): Outcome {
    if (head.account === undefined) return { refused: String(head.refused) };
    this.#entered = head.entered === true;
    const serverSignature = octets.length > 0 && { serverSignature: Buffer.from(octets) };
    return { account: head.account as Account, ...serverSignature, enter: () => this.#enter() };
  }

  #enter(): (() => void) | undefined {
    if (!this.#entered) return undefined;
    this.#entered = false;
    return () => this.place.tell('leave-user');
  }
}

export class RemoteChallenger implements Challenger {
  #provable: { readonly answer: Promise<Provable>; readonly until: number } | undefined;

  constructor(private readonly channel: Channel) {}

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

/**
 * One connection of a worker, as the supervisor knows it: the place it was counted into, its attempt to log in, and the
 * user that was let in. Whoever has taken over a worker may ask for anything at any time, so this decides what may
 * come next, and everything else is a BadMessage, which is the worker's end.
 *
 * Invariants: an attempt is for the user and the address it was begun for, is checked once, and not before its wait is
 * over; there is one at a time, and none while somebody is logged in; its outcome is counted here, whatever the worker
 * makes of it. So a worker can guess no faster than clients from as many addresses as there may be connections.
 */
import { isIP } from 'node:net';
import type { Credentials } from '../pop3/authorization.js';
import type { Peer } from '../pop3/ports.js';
import type { LocalPlace } from './limits.js';
import type { LocalLogins, LoginAttempt } from './logins.js';
import { countedAs } from './throttle.js';
import type { Answer } from './worker-channel.js';
import { BadMessage, countOf, type Head, textOf } from './worker-frames.js';

/** How much sooner than asked a timer of another process may be over, milliseconds. */
const EARLY = 20;

/** One that waits. */
interface Waiting {
  readonly attempt: LoginAttempt;
  /** When it may be checked, by `performance.now`. */
  readonly due: number;
  readonly countedAs: string;
}

export class WorkerConnection {
  #waiting: Waiting | undefined;
  #checking = false;
  #leaveUser: (() => void) | undefined;
  /** The worker is gone. */
  #lost = false;

  /** @param address undefined until `countFor` */
  constructor(
    private readonly place: LocalPlace,
    private address: string | undefined,
  ) {}

  /** @returns why it must be refused */
  countFor(address: string): string | undefined {
    if (this.address !== undefined) throw new BadMessage('a second address of a connection');
    const refused = this.place.countFor(address);
    if (refused === undefined) this.address = address;
    return refused;
  }

  /** @param head as `peerAt` has it */
  begin(logins: LocalLogins, head: Head, credentials: Credentials): Answer | Promise<Answer> {
    const { address } = this;
    if (address === undefined) throw new BadMessage('a login from no address');
    if (this.#waiting || this.#checking || this.#leaveUser) throw new BadMessage('a second login at a time');
    const attempt = logins.begin(peerAt(address, head), credentials);
    if (attempt === undefined) return { head: { full: true } };
    const wait = Math.ceil(attempt.wait);
    if (wait === 0) return this.#check(attempt, credentials);
    const due = performance.now() + wait - EARLY;
    this.#waiting = { attempt, due, countedAs: countedAs(credentials.user) };
    return { head: { wait } };
  }

  /** Checks the attempt that has waited. */
  check(credentials: Credentials): Promise<Answer> {
    const { attempt, due, countedAs: expected } = this.#takeWaiting();
    const early = performance.now() < due;
    if (early || countedAs(credentials.user) !== expected) {
      attempt.over();
      throw new BadMessage(early ? 'a login before its time' : 'a login of another user');
    }
    return this.#check(attempt, credentials);
  }

  abandon(): void {
    this.#takeWaiting().attempt.over();
  }

  leaveUser(): void {
    if (this.#leaveUser === undefined) throw new BadMessage('nobody to leave');
    this.#leaveUser();
    this.#leaveUser = undefined;
  }

  /** The connection is over. */
  leave(): void {
    // Or there could be as many checks at a time as anybody likes.
    if (this.#checking) throw new BadMessage('a connection that is over in the middle of a check');
    this.lost();
  }

  /** The worker is gone: all is given back, and if somebody is let in only now, that, too. */
  lost(): void {
    this.#lost = true;
    this.#waiting?.attempt.over();
    this.#waiting = undefined;
    this.#leaveUser?.();
    this.#leaveUser = undefined;
    this.place.leave();
  }

  #takeWaiting(): Waiting {
    const waiting = this.#waiting;
    if (waiting === undefined) throw new BadMessage('a login that was not begun');
    this.#waiting = undefined;
    return waiting;
  }

  async #check(attempt: LoginAttempt, credentials: Credentials): Promise<Answer> {
    this.#checking = true;
    try {
      const outcome = await attempt.check(credentials);
      if ('refused' in outcome) return { head: { refused: outcome.refused } };
      if (!this.#lost) this.#leaveUser = outcome.enter();
      const { account, serverSignature } = outcome;
      const head = { account, entered: this.#leaveUser !== undefined };
      return serverSignature === undefined ? { head } : { head, octets: serverSignature };
    } finally {
      this.#checking = false;
      attempt.over();
    }
  }
}

/** An address as `peerOf` gives it; it goes to whoever checks passwords, perhaps another program. @throws BadMessage */
export function addressOf(head: Head, key: string): string {
  const address = textOf(head, key);
  const [, bare = ''] = /^([0-9a-f.:]{2,45})(?:%[^\s\p{Cc}/]{1,15})?$/iu.exec(address) ?? [];
  if (isIP(bare) === 0 && address !== 'unknown') throw new BadMessage(`${key} is no address`);
  return address;
}

/** The client at an address. @param head may have the front end it came `via`. @throws BadMessage */
export function peerAt(address: string, head: Head): Peer {
  const port = countOf(head, 'port');
  if (port > 65_535) throw new BadMessage('port is none');
  return { address, port, ...(head.via !== undefined && { via: addressOf(head, 'via') }) };
}

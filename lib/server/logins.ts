/**
 * What an attempt to log in may ask, of the one process that counts attempts: may it be tried, when, and is it right.
 *
 * Invariants: nothing is checked but in an attempt, and each is checked at most once; whoever checks counts the outcome,
 * and counts in the connection of a user whom it lets in.
 */
import type { Credentials } from '../pop3/authorization.js';
import type { Account, Authenticator, Peer, ProofVerdict } from '../pop3/ports.js';
import type { KeyedLimit, MaybeLater, Place } from './limits.js';
import type { Attempt, Throttle } from './throttle.js';

export type Outcome = LetIn | { readonly refused: string };

export interface LetIn {
  readonly account: Account;
  readonly serverSignature?: Uint8Array;
  /** To be called once. @returns what to call once when the connection is over; undefined when its user has too many */
  enter(): (() => void) | undefined;
}

/** An attempt that may be checked after `wait` milliseconds. */
export interface LoginAttempt {
  readonly wait: number;
  /**
   * To be called at most once, with what the attempt was begun with.
   * @throws Unavailable when it cannot tell: then the attempt does not count
   */
  check(credentials: Credentials): MaybeLater<Outcome>;
  /** To be called in any case: nothing more will be asked. Who was let in and did not enter is counted out again. */
  over(): void;
}

export interface Logins {
  /**
   * @param place of the connection, where connections are counted in
   * @returns undefined when too many from this address are waiting already
   * @throws Unavailable
   */
  begin(peer: Peer, credentials: Credentials, place: Place | undefined): MaybeLater<LoginAttempt | undefined>;
}

export interface LoginParts {
  readonly throttle: Throttle;
  /** Connections of each user, from the right password on. */
  readonly users: KeyedLimit;
  readonly authenticator: Authenticator;
}

/** Those of the process that counts for itself. */
export class LocalLogins implements Logins {
  constructor(private readonly parts: LoginParts) {}

  begin(peer: Peer, { user }: Credentials): LoginAttempt | undefined {
    const begun = this.parts.throttle.begin(peer.address, user);
    return begun && new LocalAttempt(this.parts, peer, begun);
  }
}

class LocalAttempt implements LoginAttempt {
  #leave: (() => void) | undefined;

  constructor(
    private readonly parts: LoginParts,
    private readonly peer: Peer,
    private readonly attempt: Attempt,
  ) {}

  get wait(): number {
    return this.attempt.wait;
  }

  async check(credentials: Credentials): Promise<Outcome> {
    const verdict = await checked(this.parts.authenticator, credentials, this.peer);
    if ('refused' in verdict) {
      // Also when the client has left: where backends are slow to say no, a guesser need not wait for it.
      this.attempt.failed();
      return verdict;
    }
    this.attempt.succeeded();
    this.#leave = this.parts.users.enter(verdict.account.user);
    return { ...verdict, enter: () => this.#enter() };
  }

  over(): void {
    this.attempt.abandoned();
    this.#enter()?.();
  }

  #enter(): (() => void) | undefined {
    const leave = this.#leave;
    this.#leave = undefined;
    return leave;
  }
}

async function checked(
  authenticator: Authenticator,
  credentials: Credentials,
  peer: Peer,
): Promise<ProofVerdict> {
  if ('refused' in credentials) return { refused: credentials.refused };
  if ('password' in credentials)
    return authenticator.checkPassword(credentials.user, credentials.password, peer);
  return authenticator.checkProof(credentials, peer);
}

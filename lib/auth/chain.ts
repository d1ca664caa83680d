/**
 * Several backends in order, as one: the first that lets somebody in decides. So a user locked in one and
 * able to log in by another is let in; whoever must stay out has to be locked in each.
 *
 * Invariant: while a backend cannot tell, nobody is told "wrong password": it might have said yes.
 */
import { Unavailable } from '../errors.js';
import type { Authenticator, PasswordChecker, Peer, Verdict } from '../pop3/ports.js';

/** One that only checks passwords holds no shared secret: proofs by one are refused for it. */
export type Backend = PasswordChecker & Partial<Authenticator>;

const PASSWORDS_ONLY: Verdict = { refused: 'only passwords can be checked' };

export class Chain implements Authenticator {
  readonly #backends: readonly Backend[];

  /** @throws TypeError when there is no backend */
  constructor(backends: readonly Backend[]) {
    if (backends.length === 0) throw new TypeError('a chain of no backends could let nobody in');
    this.#backends = backends;
  }

  checkPassword(user: Uint8Array, password: Uint8Array, peer: Peer): Promise<Verdict> {
    return this.#first(backend => backend.checkPassword(user, password, peer));
  }

  checkApop(user: Uint8Array, timestamp: string, digest: string, peer: Peer): Promise<Verdict> {
    return this.#first(async backend => backend.checkApop?.(user, timestamp, digest, peer) ?? PASSWORDS_ONLY);
  }

  async #first(check: (backend: Backend) => Promise<Verdict>): Promise<Verdict> {
    const reasons: string[] = [];
    let unavailable: Unavailable | undefined;
    // One after the other: two hashes at once would double what a login attempt costs us.
    for (const backend of this.#backends) {
      try {
        const verdict = await check(backend);
        if ('account' in verdict) return verdict;
        reasons.push(verdict.refused);
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        unavailable ??= error;
      }
    }
    if (unavailable !== undefined) throw unavailable;
    return { refused: reasons.join('; ') };
  }
}

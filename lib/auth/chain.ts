/**
 * Several backends in order, as one: the first that lets somebody in decides. So a user locked in one and
 * able to log in by another is let in; whoever must stay out has to be locked in each.
 *
 * Invariant: while a backend cannot tell, nobody is told "wrong password": it might have said yes.
 */
import { Unavailable } from '../errors.js';
import type {
  Authenticator,
  PasswordChecker,
  Peer,
  Proof,
  ProofMethod,
  ProofVerdict,
  Provable,
  ScramChallenge,
  ScramMethod,
  Verdict,
} from '../pop3/ports.js';

/** One that only checks passwords knows nothing that a proof could be checked by. */
export type Backend = PasswordChecker | Authenticator;

export class Chain implements Authenticator {
  readonly #backends: readonly Backend[];

  /** @throws TypeError when there is no backend */
  constructor(backends: readonly Backend[]) {
    if (backends.length === 0) throw new TypeError('a chain of no backends could let nobody in');
    this.#backends = backends;
  }

  checkPassword(user: Uint8Array, password: Uint8Array, peer: Peer): Promise<Verdict> {
    const [only, ...others] = this.#backends;
    if (only !== undefined && others.length === 0) return only.checkPassword(user, password, peer);
    return firstOf(this.#backends, backend => backend.checkPassword(user, password, peer));
  }

  /** A method that one backend does not know is not for all; without its users at hand, nobody can tell. */
  async provable(): Promise<Provable> {
    const provers = this.#provers();
    if (this.#backends.length === 1 && provers[0] !== undefined) return provers[0].provable();
    const each = await Promise.all(provers.map(prover => prover.provable()));
    const some = new Set<ProofMethod>(each.flatMap(provable => [...provable.some]));
    const everywhere = each.length === this.#backends.length;
    const all = [...some].filter(method => everywhere && each.every(provable => provable.all.has(method)));
    return { some, all: new Set(all) };
  }

  /** There is one salt to a challenge, hence one backend for SCRAM: the first that can. */
  async scramChallenge(method: ScramMethod, user: Uint8Array, peer: Peer): Promise<ScramChallenge> {
    const [prover] = this.#provers();
    if (prover === undefined) throw new Unavailable('SYS/TEMP', `${method} is not available`);
    return prover.scramChallenge(method, user, peer);
  }

  checkProof(proof: Proof, peer: Peer): Promise<ProofVerdict> {
    return firstOf(this.#provers(), prover => prover.checkProof(proof, peer));
  }

  #provers(): Authenticator[] {
    return this.#backends.filter(backend => 'checkProof' in backend);
  }
}

/** The first yes; the reasons of all, when all say no. */
async function firstOf<B, V extends object>(
  backends: readonly B[],
  check: (backend: B) => Promise<V | { readonly refused: string }>,
): Promise<V | { readonly refused: string }> {
  const reasons: string[] = [];
  let unavailable: Unavailable | undefined;
  // One after the other: two hashes at once would double what a login attempt costs us.
  for (const backend of backends) {
    try {
      const verdict = await check(backend);
      if (!('refused' in verdict)) return verdict;
      reasons.push(verdict.refused);
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      unavailable ??= error;
    }
  }
  if (unavailable !== undefined) throw unavailable;
  return { refused: reasons.join('; ') || 'no backend can check it' };
}

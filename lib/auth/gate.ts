/**
 * Who may come in although the password is right: users and networks by the settings, and what the users
 * file says of one user (`pop3=no`, `allow_nets=`).
 *
 * Invariant: it is asked after the secret was checked, and its refusal is one like any other, so that neither
 * text nor time tells that the password was right.
 */
import { Networks } from '../networks.js';
import type {
  Account,
  Authenticator,
  Peer,
  Proof,
  ProofVerdict,
  Provable,
  ScramChallenge,
  ScramMethod,
  Verdict,
} from '../pop3/ports.js';

export interface GateRules {
  /** The only ones, unless it is empty. */
  readonly allowUsers: readonly string[];
  readonly denyUsers: readonly string[];
}

export class Gate implements Authenticator {
  readonly #allowed: ReadonlySet<string>;
  readonly #denied: ReadonlySet<string>;

  constructor(
    private readonly backends: Authenticator,
    rules: GateRules,
  ) {
    this.#allowed = new Set(rules.allowUsers);
    this.#denied = new Set(rules.denyUsers);
  }

  async checkPassword(user: Uint8Array, password: Uint8Array, peer: Peer): Promise<Verdict> {
    return this.#judge(await this.backends.checkPassword(user, password, peer), peer);
  }

  async checkProof(proof: Proof, peer: Peer): Promise<ProofVerdict> {
    return this.#judge(await this.backends.checkProof(proof, peer), peer);
  }

  provable(): Promise<Provable> {
    return this.backends.provable();
  }

  scramChallenge(method: ScramMethod, user: Uint8Array, peer: Peer): Promise<ScramChallenge> {
    return this.backends.scramChallenge(method, user, peer);
  }

  #judge<V extends ProofVerdict>(verdict: V, peer: Peer): V | { readonly refused: string } {
    if ('refused' in verdict) return verdict;
    const refused = this.#whyNot(verdict.account, peer);
    return refused === undefined ? verdict : { refused };
  }

  #whyNot({ user, pop3, allowNets }: Account, { address }: Peer): string | undefined {
    if (this.#denied.has(user)) return 'user is in deny-users';
    if (this.#allowed.size > 0 && !this.#allowed.has(user)) return 'user is not in allow-users';
    if (pop3 === false) return 'pop3=no';
    if (allowNets !== undefined && !new Networks(allowNets).has(address))
      return 'address is not in allow_nets';
    return undefined;
  }
}

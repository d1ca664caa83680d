/** Users and plain passwords that a program gives: for the library and for tests. */
import type {
  Authenticator,
  Proof,
  ProofVerdict,
  Provable,
  ScramChallenge,
  ScramMethod,
  Verdict,
} from '../pop3/ports.js';
import { Credentials, type UserEntry } from './credentials.js';
import { Proofs } from './proofs.js';
import { ownSaltKey } from './salts.js';
import { readSecret } from './secret.js';
import { isUserName } from './user-name.js';

export class StaticUsers implements Authenticator {
  readonly #credentials: Credentials;
  readonly #proofs: Proofs;

  /**
   * @param passwords user name → password as text, sent by clients as UTF-8
   * @throws TypeError for a name that no user can have, or a password nobody could log in with
   */
  constructor(passwords: Readonly<Record<string, string>>) {
    const users = new Map<string, UserEntry>();
    for (const [user, password] of Object.entries(passwords)) {
      if (!isUserName(user)) throw new TypeError(`not a user name: ${JSON.stringify(user)}`);
      const secret = readSecret(`{PLAIN}${Buffer.from(password).toString('latin1')}`);
      if (secret.kind !== 'plain') throw new TypeError(`password of ${user} is empty, too long or has a NUL`);
      users.set(user, { account: { user }, secret });
    }
    // Plain passwords need no crypt(3).
    this.#credentials = new Credentials(users, { crypt: async () => undefined });
    this.#proofs = new Proofs(users, ownSaltKey());
  }

  checkPassword(user: Uint8Array, password: Uint8Array): Promise<Verdict> {
    return this.#credentials.checkPassword(user, password);
  }

  async provable(): Promise<Provable> {
    return this.#proofs.provable;
  }

  scramChallenge(method: ScramMethod, user: Uint8Array): Promise<ScramChallenge> {
    return this.#proofs.scramChallenge(method, user);
  }

  checkProof(proof: Proof): Promise<ProofVerdict> {
    return this.#proofs.checkProof(proof);
  }
}

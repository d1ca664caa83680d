/**
 * A fixed set of users and the checks of their passwords; UsersFile and StaticUsers both end here.
 *
 * Invariant: an unknown user, a locked one and a wrong password cost the same kind of hashing, so that
 * time does not tell who exists. The stand-in is a hash of the commonest method and cost among the
 * users. In a file of mixed methods a user of another one still differs; the session's fixed
 * deadlines for failed logins cover that.
 */
import { randomBytes } from 'node:crypto';
import type { Account, Verdict } from '../pop3/ports.js';
import { type Comparison, type Crypt, comparePassword, passwordProblem } from './password.js';
import { costOf, type Secret } from './secret.js';
import { userNameFrom } from './user-name.js';
import type { VerifiedLogins } from './verified-logins.js';

export interface UserEntry {
  readonly account: Account;
  readonly secret: Secret;
}

export class Credentials {
  readonly #users: ReadonlyMap<string, UserEntry>;
  readonly #host: Crypt;
  readonly #standIn: Secret;
  readonly #verified: VerifiedLogins | undefined;

  /**
   * @param standIn what to hash for nobody, when `users` are not all there are
   * @param verified spares hashing the same password again; of the same backend, and may outlive us
   */
  constructor(
    users: ReadonlyMap<string, UserEntry>,
    host: Crypt,
    standIn?: Secret,
    verified?: VerifiedLogins,
  ) {
    this.#users = users;
    this.#host = host;
    this.#verified = verified;
    this.#standIn = standIn ?? commonest([...users.values()].map(user => user.secret));
  }

  /** The account of a user, without any check: for what the server does on its own. */
  account(user: string): Account | undefined {
    return this.#users.get(user)?.account;
  }

  /** The contract is `Authenticator.checkPassword`. */
  async checkPassword(user: Uint8Array, password: Uint8Array): Promise<Verdict> {
    const entry = findUser(this.#users, user);
    const refused = problemOf(entry) ?? passwordProblem(password);
    if (entry === undefined || refused !== undefined) {
      await this.#spendTheSame(password);
      return { refused: refused ?? 'unknown user' };
    }
    const { account, secret } = entry;
    if (this.#verified?.has(account.user, secret, password)) return { account };
    switch (await this.#compare(entry, password)) {
      case 'right':
        return { account };
      case 'wrong':
        return { refused: 'wrong password' };
      case 'unusable':
        return { refused: 'unusable password hash' };
    }
  }

  async #compare({ account: { user }, secret }: UserEntry, password: Uint8Array): Promise<Comparison> {
    const result = await comparePassword(this.#host, password, secret);
    if (result === 'right') this.#verified?.remember(user, secret, password);
    return result;
  }

  /** The work of a check whose result is settled already. It may throw, as a real one would. */
  async #spendTheSame(password: Uint8Array): Promise<void> {
    const usable = passwordProblem(password) === undefined ? password : Buffer.from('password');
    await comparePassword(this.#host, usable, this.#standIn);
  }
}

/** The user whose name these octets are. */
export function findUser(users: ReadonlyMap<string, UserEntry>, octets: Uint8Array): UserEntry | undefined {
  const name = userNameFrom(octets);
  return name === undefined ? undefined : users.get(name);
}

/** Why nobody can log in as this user, whatever they know. */
export function problemOf(entry: UserEntry | undefined): string | undefined {
  if (entry === undefined) return 'unknown user';
  const { secret } = entry;
  return secret.kind === 'locked' || secret.kind === 'unknown' ? secret.reason : undefined;
}

function commonest(secrets: readonly Secret[]): Secret {
  const counts = new Map<string, number>();
  let best: Secret = { kind: 'plain', octets: randomBytes(16) };
  let most = 0;
  for (const secret of secrets) {
    const cost = costOf(secret);
    if (cost === undefined) continue;
    const count = (counts.get(cost) ?? 0) + 1;
    counts.set(cost, count);
    if (count > most) [best, most] = [secret, count];
  }
  return best;
}

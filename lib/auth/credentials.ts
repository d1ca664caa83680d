/**
 * A fixed set of users and the checks against it; UsersFile and StaticUsers both end here.
 *
 * Invariant: an unknown user, a locked one and a wrong password cost the same kind of hashing, so that
 * time does not tell who exists. The stand-in is a hash of the commonest method and cost among the
 * users. In a file of mixed methods a user of another one still differs; the session's fixed
 * deadlines for failed logins cover that.
 */
import { createHash, randomBytes } from 'node:crypto';
import { Unavailable } from '../errors.js';
import type { Account, Verdict } from '../pop3/ports.js';
import { type Comparison, type Crypt, comparePassword, passwordProblem, sameOctets } from './password.js';
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
    const entry = this.#find(user);
    const refused = problemOf(entry) ?? passwordProblem(password);
    if (entry === undefined || refused !== undefined) {
      await this.#spendTheSame(password);
      return { refused: refused ?? 'unknown user' };
    }
    switch (await this.#compare(entry, password)) {
      case 'right':
        return { account: entry.account };
      case 'wrong':
        return { refused: 'wrong password' };
      case 'unusable':
        return { refused: 'unusable password hash' };
    }
  }

  /** The contract is `Authenticator.checkApop`. Only a {PLAIN} password can be the shared secret. */
  async checkApop(user: Uint8Array, timestamp: string, digest: string): Promise<Verdict> {
    const entry = this.#find(user);
    const secret = entry?.secret.kind === 'plain' ? entry.secret.octets : undefined;
    // RFC 1939 §7 (APOP): the digest of the timestamp, with its angle brackets, and the shared secret.
    const expected = md5(Buffer.concat([Buffer.from(timestamp, 'latin1'), secret ?? randomBytes(16)]));
    const same = sameOctets(Buffer.from(digest, 'latin1'), expected);
    if (entry === undefined || secret === undefined) {
      return { refused: problemOf(entry) ?? 'APOP needs a {PLAIN} password' };
    }
    return same ? { account: entry.account } : { refused: 'wrong digest' };
  }

  async #compare({ account: { user }, secret }: UserEntry, password: Uint8Array): Promise<Comparison> {
    if (this.#verified?.has(user, secret, password)) return 'right';
    const result = await comparePassword(this.#host, password, secret);
    if (result === 'right') this.#verified?.remember(user, secret, password);
    return result;
  }

  #find(user: Uint8Array): UserEntry | undefined {
    const name = userNameFrom(user);
    return name === undefined ? undefined : this.#users.get(name);
  }

  /** The work of a check whose result is settled already. It may throw, as a real one would. */
  async #spendTheSame(password: Uint8Array): Promise<void> {
    const usable = passwordProblem(password) === undefined ? password : Buffer.from('password');
    await comparePassword(this.#host, usable, this.#standIn);
  }
}

/** Why nobody can log in as this user, whatever they know. */
function problemOf(entry: UserEntry | undefined): string | undefined {
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

function md5(octets: Uint8Array): string {
  try {
    return createHash('md5').update(octets).digest('hex');
  } catch (cause) {
    // OpenSSL in FIPS mode has no MD5.
    throw new Unavailable('SYS/TEMP', 'APOP is not available', { cause });
  }
}

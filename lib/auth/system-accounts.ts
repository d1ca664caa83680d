/**
 * The host's own users: passwd(5) and shadow(5), read at each login, with passwords by crypt(3). Users
 * of LDAP and the like, whom only NSS knows, are not seen. Reading shadow(5) takes root, or its group.
 *
 * Invariants: what an account may not do is decided before its password is looked at, and is refused at
 * the cost of a real check; uid 0 and the system's own users never log in; a file that cannot be read is
 * `Unavailable`, never "wrong password".
 */
import { statSync } from 'node:fs';
import { errnoOf, Unavailable } from '../errors.js';
import type { PasswordChecker, Verdict } from '../pop3/ports.js';
import { Credentials, type UserEntry } from './credentials.js';
import { maskHash } from './crypt-strings.js';
import type { Crypt } from './password.js';
import { costOf, readHash, type Secret } from './secret.js';
import { shadowProblem } from './shadow.js';
import { findEntry, passwordFields, readOctets } from './system-files.js';
import { userNameFrom } from './user-name.js';
import { VerifiedLogins } from './verified-logins.js';

export interface SystemAccountsOptions {
  readonly host: Crypt;
  /** The lowest uid that may log in; 0 never may. Default 1000, UID_MIN of login.defs(5). */
  readonly minimumUid?: number;
  /** While this file exists nobody logs in, as with pam_nologin. Default `/etc/nologin`. */
  readonly nologin?: string;
  readonly passwd?: string;
  readonly shadow?: string;
  /** Milliseconds for which a right password is not hashed again; default 0. All else is checked each time. */
  readonly cacheLifetime?: number;
  /** Whole days since 1970-01-01 UTC. */
  readonly now?: () => number;
}

const PASSWD_FIELDS = 7;
/** Entries looked at to learn which kind of hash is usual here. */
const SAMPLE = 500;
const MS_PER_DAY = 86_400_000;

export class SystemAccounts implements PasswordChecker {
  readonly #host: Crypt;
  readonly #rules: Required<Omit<SystemAccountsOptions, 'host' | 'cacheLifetime'>>;
  readonly #verified: VerifiedLogins;

  constructor(options: SystemAccountsOptions) {
    this.#host = options.host;
    this.#verified = new VerifiedLogins({ lifetime: options.cacheLifetime ?? 0 });
    this.#rules = {
      minimumUid: options.minimumUid ?? 1000,
      nologin: options.nologin ?? '/etc/nologin',
      passwd: options.passwd ?? '/etc/passwd',
      shadow: options.shadow ?? '/etc/shadow',
      now: options.now ?? (() => Math.floor(Date.now() / MS_PER_DAY)),
    };
  }

  async checkPassword(user: Uint8Array, password: Uint8Array): Promise<Verdict> {
    const name = userNameFrom(user);
    const { entry, usual } = this.#read(name);
    const users = new Map<string, UserEntry>();
    if (name !== undefined && entry !== undefined) users.set(name, entry);
    return new Credentials(users, this.#host, usual, this.#verified).checkPassword(user, password);
  }

  /** All is read whoever asks, so that the time does not tell who exists. */
  #read(name: string | undefined): { entry: UserEntry | undefined; usual: Secret } {
    const { passwd, shadow, nologin } = this.#rules;
    const closed = orUnavailable(() => exists(nologin));
    const accounts = orUnavailable(() => readOctets(passwd));
    const secrets = orUnavailable(() => readOctets(shadow));
    try {
      const usual = usualSecret(secrets);
      const fields = name === undefined ? undefined : findEntry(accounts, name);
      if (name === undefined || fields === undefined) return { entry: undefined, usual };
      if (closed) return { entry: refusing(name, 'nologin'), usual };
      return { entry: this.#entry(name, fields, () => findEntry(secrets, name)), usual };
    } finally {
      accounts.fill(0);
      secrets.fill(0);
    }
  }

  #entry(user: string, fields: string[], shadow: () => string[] | undefined): UserEntry {
    const [, field = '', uidField = '', gidField = ''] = fields;
    const uid = readId(uidField);
    const gid = readId(gidField);
    if (fields.length !== PASSWD_FIELDS || uid === undefined || gid === undefined) {
      return refusing(user, 'passwd entry malformed');
    }
    const { minimumUid, now } = this.#rules;
    if (uid === 0 || gid === 0) return refusing(user, 'uid or gid 0');
    if (uid < minimumUid) return refusing(user, `uid ${uid} is below ${minimumUid}`);
    const account = { user, uid, gid };
    // passwd(5): anything but x is the hash itself, and there is no ageing.
    if (field !== 'x') return { account, secret: readHash(field) };
    const entry = shadow();
    if (entry === undefined) return refusing(user, 'no shadow entry');
    const reason = shadowProblem(entry, now());
    return reason === undefined ? { account, secret: readHash(entry[1] ?? '') } : refusing(user, reason);
  }
}

function refusing(user: string, reason: string): UserEntry {
  return { account: { user }, secret: { kind: 'locked', reason } };
}

/** 32 bits, less the highest value, which stands for "no id". */
function readId(text: string): number | undefined {
  return /^[0-9]{1,10}$/.test(text) && Number(text) < 0xffffffff ? Number(text) : undefined;
}

/** A secret of nobody's, of the method and cost that most entries have. */
function usualSecret(shadow: Buffer): Secret {
  const counts = new Map<string, number>();
  // A method that every libcrypt has, for when no entry has a password.
  let usual = `$6$${'.'.repeat(16)}$${'.'.repeat(86)}`;
  let most = 0;
  for (const field of passwordFields(shadow, SAMPLE)) {
    const secret = readHash(field);
    const cost = costOf(secret);
    if (cost === undefined) continue;
    const count = (counts.get(cost) ?? 0) + 1;
    counts.set(cost, count);
    if (count > most) [usual, most] = [maskHash(field), count];
  }
  return readHash(usual);
}

function exists(path: string): boolean {
  try {
    statSync(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return false;
    throw error;
  }
}

function orUnavailable<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new Unavailable('SYS/TEMP', 'Cannot check passwords now', { cause });
  }
}

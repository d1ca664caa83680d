/**
 * Password fields of a users file as we write them: the schemes, what each costs to check, and locking.
 *
 * Invariant: what is written is read back by secret.ts as what was meant, and by Dovecot, and has neither
 * colon nor line end.
 */
import { randomBytes } from 'node:crypto';
import type { Crypt } from './password.js';
import { deriveScramKeys, MAX_ITERATIONS, type ScramHash, writeScramKeys } from './scram-keys.js';
import { readSecret } from './secret.js';

interface WritableScheme {
  /** What its cost counts, and the least, usual and highest; undefined when there is none to choose. */
  readonly cost: {
    readonly counts: string;
    readonly min: number;
    readonly usual: number;
    readonly max: number;
  };
  readonly write: (password: Uint8Array, cost: number, host: Crypt) => Promise<string>;
}

/** The usual costs are some 30 ms of one processor; bcrypt's, 200 ms. */
const ROUNDS = { counts: 'rounds', min: 1000, usual: 100_000, max: MAX_ITERATIONS };
/** RFC 7677 §4: at least 4096. A client that logs in by SCRAM does the same work. */
const ITERATIONS = { counts: 'iterations', min: 4096, usual: 100_000, max: MAX_ITERATIONS };
/** bcrypt hashes no more. */
const MAX_BCRYPT_PASSWORD = 72;

export const WRITABLE_SCHEMES: ReadonlyMap<string, WritableScheme> = new Map([
  ['SCRAM-SHA-256', { cost: ITERATIONS, write: scram('sha256', '{SCRAM-SHA-256}') }],
  ['SCRAM-SHA-1', { cost: ITERATIONS, write: scram('sha1', '{SCRAM-SHA-1}') }],
  [
    'SHA512-CRYPT',
    { cost: ROUNDS, write: crypt('{SHA512-CRYPT}', cost => `$6$rounds=${cost}$${salt(16)}$`) },
  ],
  [
    'SHA256-CRYPT',
    { cost: ROUNDS, write: crypt('{SHA256-CRYPT}', cost => `$5$rounds=${cost}$${salt(16)}$`) },
  ],
  ['BLF-CRYPT', { cost: { counts: 'doublings', min: 4, usual: 12, max: 15 }, write: bcrypt }],
  // crypt_gensalt(3): cost 5 is 16 MiB, and each further one doubles it.
  [
    'YESCRYPT',
    { cost: { counts: 'doublings', min: 3, usual: 5, max: 11 }, write: crypt('{CRYPT}', yescrypt) },
  ],
  ['PLAIN', { cost: { counts: 'nothing', min: 0, usual: 0, max: 0 }, write: plain }],
]);
export const DEFAULT_SCHEME = 'SCRAM-SHA-256';

/**
 * @param cost as the scheme counts it; its usual one when undefined
 * @returns makes the field of a password; rejects with RangeError for one that the scheme cannot hold whole, and with
 * `Unavailable` without libcrypt
 * @throws RangeError for a scheme or cost that there is not
 */
export function writerFor(
  scheme: string,
  cost?: number,
): (host: Crypt, password: Uint8Array) => Promise<string> {
  const row = WRITABLE_SCHEMES.get(scheme.toUpperCase());
  if (row === undefined)
    throw new RangeError(`${scheme}: choose of ${[...WRITABLE_SCHEMES.keys()].join(', ')}`);
  const { counts, min, usual, max } = row.cost;
  const chosen = cost ?? usual;
  if (!Number.isInteger(chosen) || chosen < min || chosen > max) {
    throw new RangeError(`cost ${chosen}: ${scheme} has ${min} to ${max} ${counts}`);
  }
  return (host, password) => row.write(password, chosen, host);
}

/** The field of a user who is locked out: as passwd(5) does it, so that unlocking brings the old password back. */
export function lockedField(field: string): string {
  return isLocked(field) ? field : `!${field}`;
}

/** The field without its lock, or undefined when there is no password behind it. */
export function unlockedField(field: string): string | undefined {
  const bare = field.replace(/^!+/, '');
  const { kind } = readSecret(bare);
  return kind === 'locked' || kind === 'unknown' ? undefined : bare;
}

/** The new field of somebody whose password changes. Who was locked, and had one, stays locked. */
export function changedField(old: string, field: string): string {
  const bare = old.replace(/^!+/, '');
  return bare !== old && !isLocked(bare) ? lockedField(field) : field;
}

/** Whether nobody can log in with it, by a lock or because no password was ever set. */
export function isLocked(field: string): boolean {
  return readSecret(field).kind === 'locked';
}

/** The name of a field's scheme, locked or not, without anything of the secret. `-` when there is none. */
export function schemeOf(field: string): string {
  const bare = field.replace(/^!+/, '');
  const secret = readSecret(bare);
  switch (secret.kind) {
    case 'des':
      return 'DES-CRYPT';
    case 'locked':
      return '-';
    case 'unknown':
      return 'unknown';
    default:
      return secret.kind === 'crypt' ? cryptName(secret.hash) : schemeName(bare);
  }
}

/** Without the encoding that may follow it. */
function schemeName(field: string): string {
  return /^\{([A-Za-z0-9-]+)/.exec(field)?.[1]?.toUpperCase() ?? 'unknown';
}

const CRYPT_NAMES: readonly (readonly [RegExp, string])[] = [
  [/^\$y\$/, 'YESCRYPT'],
  [/^\$gy\$/, 'GOST-YESCRYPT'],
  [/^\$7\$/, 'SCRYPT'],
  [/^\$2[abxy]\$/, 'BLF-CRYPT'],
  [/^\$6\$/, 'SHA512-CRYPT'],
  [/^\$5\$/, 'SHA256-CRYPT'],
  [/^\$1\$/, 'MD5-CRYPT'],
  [/^_/, 'BSDI-CRYPT'],
];

function cryptName(hash: string): string {
  return CRYPT_NAMES.find(([form]) => form.test(hash))?.[1] ?? 'CRYPT';
}

function scram(hash: ScramHash, prefix: string): WritableScheme['write'] {
  return async (password, iterations) =>
    prefix + writeScramKeys(await deriveScramKeys(password, { hash, iterations, salt: randomBytes(16) }));
}

function crypt(prefix: string, setting: (cost: number) => string): WritableScheme['write'] {
  return async (password, cost, host) => {
    const hash = await host.crypt(password, setting(cost));
    if (hash === undefined) throw new RangeError('the crypt(3) of this host cannot make such hashes');
    return prefix + hash;
  };
}

async function bcrypt(password: Uint8Array, cost: number, host: Crypt): Promise<string> {
  if (password.length > MAX_BCRYPT_PASSWORD) {
    throw new RangeError(`BLF-CRYPT would use only the first ${MAX_BCRYPT_PASSWORD} octets of this password`);
  }
  const write = crypt('{BLF-CRYPT}', () => `$2y$${String(cost).padStart(2, '0')}$${salt(22)}`);
  return write(password, cost, host);
}

/** crypt_gensalt(3): flavour j, N and r as it writes them. */
function yescrypt(cost: number): string {
  return `$y$j${'./0123456789ABCDEF'[cost + 6]}T$${salt(20)}$`;
}

/** As it is, where nobody could read or edit it into something else. */
async function plain(password: Uint8Array): Promise<string> {
  const text = Buffer.from(password).toString('latin1');
  return /^[!-9;-~]([ -9;-~]*[!-9;-~])?$/.test(text)
    ? `{PLAIN}${text}`
    : `{PLAIN.B64}${Buffer.from(password).toString('base64')}`;
}

/** Random characters of crypt(5)'s alphabet, six bits each. */
function salt(length: number): string {
  const alphabet = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  return Array.from(randomBytes(length), octet => alphabet[octet & 63]).join('');
}

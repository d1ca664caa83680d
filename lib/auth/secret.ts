/**
 * What the password field of a users file holds: a crypt(3) string as in shadow(5), or `{SCHEME}` and
 * a value, as Dovecot writes it. Reading decides only the kind; whether a hash is a good one is
 * crypt(3)'s business.
 *
 * Octets: a field is a string of one character per octet (latin1), because passwords have no charset.
 */

import { costOfHash, costsTooMuch, isCryptString, isWellFormed } from './crypt-strings.js';
import { type Pbkdf2Key, readPbkdf2, readSaltedDigest, type SaltedDigest } from './digests.js';
import { fromBase64, fromHex } from './encodings.js';
import { readScramKeys, type ScramHash, type ScramKeys } from './scram-keys.js';

/** CRYPT_MAX_PASSPHRASE_SIZE of crypt(3) is 512 with the NUL. */
export const MAX_PASSWORD = 511;

export type Secret =
  | { readonly kind: 'plain'; readonly octets: Uint8Array }
  /** The 13-character hash of old. */
  | { readonly kind: 'des'; readonly hash: string }
  /** `wellFormed`: of a known method and whole, so that crypt(3) can fail on it only for want of something. */
  | { readonly kind: 'crypt'; readonly hash: string; readonly wellFormed: boolean }
  /** Serves a plain password and the SCRAM mechanism of its hash. */
  | ({ readonly kind: 'scram' } & ScramKeys)
  | ({ readonly kind: 'pbkdf2' } & Pbkdf2Key)
  | ({ readonly kind: 'salted' } & SaltedDigest)
  /** Nobody can log in with it. */
  | { readonly kind: 'locked'; readonly reason: string }
  /** The same, but whoever wrote it probably meant something else. */
  | { readonly kind: 'unknown'; readonly reason: string };

/** How a scheme's value is written: as it is, or binary as one of these. */
type Encoding = 'text' | 'base64' | 'hex';

interface Scheme {
  /** When the scheme's name does not say, as in `{SSHA.HEX}`. */
  readonly encoding: Encoding;
  readonly read: (value: Buffer) => Secret;
}

const SCHEMES: ReadonlyMap<string, Scheme> = new Map([
  ['PLAIN', text(readPlain)],
  ['CLEARTEXT', text(readPlain)],
  ['CRYPT', text(readHash)],
  // What `doveadm pw` writes: each is a crypt(3) string that says its method itself.
  ['DES-CRYPT', text(readHash)],
  ['MD5-CRYPT', text(readHash)],
  ['SHA256-CRYPT', text(readHash)],
  ['SHA512-CRYPT', text(readHash)],
  ['BLF-CRYPT', text(readHash)],
  ['SCRAM-SHA-1', text(value => readScram('sha1', value))],
  ['SCRAM-SHA-256', text(value => readScram('sha256', value))],
  ['PBKDF2', text(readPbkdf2Secret)],
  ['SSHA', binary(value => readSalted('sha1', value))],
  ['SSHA256', binary(value => readSalted('sha256', value))],
  ['SSHA512', binary(value => readSalted('sha512', value))],
]);
/** What may follow the name of a scheme, behind a dot. */
const ENCODINGS: ReadonlyMap<string, Encoding> = new Map([
  ['B64', 'base64'],
  ['BASE64', 'base64'],
  ['HEX', 'hex'],
]);

/** Reads a password field. Total: every string is some kind. */
export function readSecret(field: string): Secret {
  const match = /^\{([A-Za-z0-9-]{1,32})(?:\.([A-Za-z0-9]{1,8}))?\}/.exec(field);
  if (match === null) return readHash(field);
  const [prefix, name = '', suffix] = match;
  const scheme = SCHEMES.get(name.toUpperCase());
  const encoding = suffix === undefined ? scheme?.encoding : ENCODINGS.get(suffix.toUpperCase());
  if (scheme === undefined || encoding === undefined) {
    return { kind: 'unknown', reason: `password scheme ${prefix} is not supported` };
  }
  const value = decode(field.slice(prefix.length), encoding);
  return value === undefined
    ? { kind: 'unknown', reason: `value of ${prefix} is not ${encoding}` }
    : scheme.read(value);
}

function decode(value: string, encoding: Encoding): Buffer | undefined {
  switch (encoding) {
    case 'text':
      return /[^\0-\xff]/.test(value) ? undefined : Buffer.from(value, 'latin1');
    case 'base64':
      return fromBase64(value);
    case 'hex':
      return fromHex(value);
  }
}

function text(read: (value: string) => Secret): Scheme {
  return { encoding: 'text', read: value => read(value.toString('latin1')) };
}

function binary(read: (value: Buffer) => Secret): Scheme {
  return { encoding: 'base64', read };
}

function readPlain(value: string): Secret {
  if (value === '') return { kind: 'locked', reason: 'no password' };
  if (value.length > MAX_PASSWORD) return { kind: 'unknown', reason: 'password over 511 octets' };
  if (value.includes('\0')) return { kind: 'unknown', reason: 'password has a NUL octet' };
  return { kind: 'plain', octets: Buffer.from(value, 'latin1') };
}

function readScram(hash: ScramHash, value: string): Secret {
  const keys = readScramKeys(hash, value);
  return keys === undefined
    ? { kind: 'unknown', reason: 'SCRAM keys are not ITERATIONS,SALT,STOREDKEY,SERVERKEY, or take too long' }
    : { kind: 'scram', ...keys };
}

function readPbkdf2Secret(value: string): Secret {
  const key = readPbkdf2(value);
  return key === undefined
    ? { kind: 'unknown', reason: 'PBKDF2 is not $1$SALT$ITERATIONS$KEY, or takes too long' }
    : { kind: 'pbkdf2', ...key };
}

function readSalted(hash: SaltedDigest['hash'], value: Buffer): Secret {
  const digest = readSaltedDigest(hash, value);
  return digest === undefined
    ? { kind: 'unknown', reason: 'salted digest is too short' }
    : { kind: 'salted', ...digest };
}

/** Reads a field that holds a crypt(3) string and nothing else, as those of shadow(5) do. Total, as `readSecret`. */
export function readHash(value: string): Secret {
  if (value === '') return { kind: 'locked', reason: 'no password' };
  // passwd(5) and shadow(5): `!` before a hash locks it; `*` and `x` never were one.
  if (/^[!*]/.test(value) || value === 'x') return { kind: 'locked', reason: 'locked' };
  if (/^[./0-9A-Za-z]{13}$/.test(value)) return { kind: 'des', hash: value };
  if (costsTooMuch(value)) return { kind: 'unknown', reason: 'password hash costs too much to check' };
  if (isCryptString(value)) return { kind: 'crypt', hash: value, wellFormed: isWellFormed(value) };
  return { kind: 'unknown', reason: 'password is neither a crypt(3) hash nor {PLAIN}' };
}

/** Method and cost of a hash: two with the same take about the same time. Undefined when nobody can log in with it. */
export function costOf(secret: Secret): string | undefined {
  switch (secret.kind) {
    case 'plain':
    case 'des':
      return secret.kind;
    case 'crypt':
      return secret.wellFormed ? costOfHash(secret.hash) : undefined;
    case 'scram':
    case 'pbkdf2':
      return `${secret.kind} ${'hash' in secret ? secret.hash : ''} ${secret.iterations}`;
    case 'salted':
      return `salted ${secret.hash}`;
    case 'locked':
    case 'unknown':
      return undefined;
  }
}

/**
 * What the password field of a users file holds: a crypt(3) string as in shadow(5), or `{SCHEME}` and
 * a value, as Dovecot writes it. Reading decides only the kind; whether a hash is a good one is
 * crypt(3)'s business.
 *
 * Octets: a field is a string of one character per octet (latin1), because passwords have no charset.
 */

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
  /** Nobody can log in with it. */
  | { readonly kind: 'locked'; readonly reason: string }
  /** The same, but whoever wrote it probably meant something else. */
  | { readonly kind: 'unknown'; readonly reason: string };

const SCHEMES: ReadonlyMap<string, (value: string) => Secret> = new Map([
  ['PLAIN', readPlain],
  ['CLEARTEXT', readPlain],
  ['CRYPT', readHash],
  // What `doveadm pw` writes: each is a crypt(3) string that says its method itself.
  ['DES-CRYPT', readHash],
  ['MD5-CRYPT', readHash],
  ['SHA256-CRYPT', readHash],
  ['SHA512-CRYPT', readHash],
  ['BLF-CRYPT', readHash],
  ['SCRAM-SHA-1', value => readScram('sha1', value)],
  ['SCRAM-SHA-256', value => readScram('sha256', value)],
]);

/** crypt(5): the whole strings of the methods in use. */
const WELL_FORMED = [
  /^\$g?y\$[./A-Za-z0-9]+\$[./A-Za-z0-9]{0,86}\$[./A-Za-z0-9]{43}$/,
  /^\$7\$[./A-Za-z0-9]{11,97}\$[./A-Za-z0-9]{43}$/,
  /^\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}$/,
  /^\$6\$(rounds=[1-9][0-9]{0,8}\$)?[^$:]{1,16}\$[./A-Za-z0-9]{86}$/,
  /^\$5\$(rounds=[1-9][0-9]{0,8}\$)?[^$:]{1,16}\$[./A-Za-z0-9]{43}$/,
  /^\$1\$[^$:]{1,8}\$[./A-Za-z0-9]{22}$/,
];

/** Reads a password field. Total: every string is some kind. */
export function readSecret(field: string): Secret {
  const scheme = /^\{([A-Za-z0-9.-]{1,32})\}/.exec(field);
  if (scheme === null) return readHash(field);
  const read = SCHEMES.get(scheme[1]!.toUpperCase());
  if (read === undefined) return { kind: 'unknown', reason: `password scheme ${scheme[0]} is not supported` };
  return read(field.slice(scheme[0].length));
}

function readPlain(value: string): Secret {
  if (value === '') return { kind: 'locked', reason: 'no password' };
  if (value.length > MAX_PASSWORD) return { kind: 'unknown', reason: 'password over 511 octets' };
  if (/[^\x01-\xff]/.test(value)) return { kind: 'unknown', reason: 'password has a NUL octet' };
  return { kind: 'plain', octets: Buffer.from(value, 'latin1') };
}

function readScram(hash: ScramHash, value: string): Secret {
  const keys = readScramKeys(hash, value);
  return keys === undefined
    ? { kind: 'unknown', reason: 'SCRAM keys are not ITERATIONS,SALT,STOREDKEY,SERVERKEY' }
    : { kind: 'scram', ...keys };
}

/** Reads a field that holds a crypt(3) string and nothing else, as those of shadow(5) do. Total, as `readSecret`. */
export function readHash(value: string): Secret {
  if (value === '') return { kind: 'locked', reason: 'no password' };
  // passwd(5) and shadow(5): `!` before a hash locks it; `*` and `x` never were one.
  if (/^[!*]/.test(value) || value === 'x') return { kind: 'locked', reason: 'locked' };
  if (/^[./0-9A-Za-z]{13}$/.test(value)) return { kind: 'des', hash: value };
  if (/^(\$[\x21-\x7e]+|_[./0-9A-Za-z]{19})$/.test(value) || isBigcrypt(value)) {
    return { kind: 'crypt', hash: value, wellFormed: WELL_FORMED.some(form => form.test(value)) };
  }
  return { kind: 'unknown', reason: 'password is neither a crypt(3) hash nor {PLAIN}' };
}

/** bigcrypt: two characters of salt and 11 for each 8 octets of the password. */
function isBigcrypt(value: string): boolean {
  return /^[./0-9A-Za-z]{24,178}$/.test(value) && (value.length - 2) % 11 === 0;
}

/** Method and cost of a hash: two with the same take about the same time. Undefined when nobody can log in with it. */
export function costOf(secret: Secret): string | undefined {
  if (secret.kind === 'plain' || secret.kind === 'des') return secret.kind;
  if (secret.kind === 'scram') return `scram ${secret.hash} ${secret.iterations}`;
  if (secret.kind !== 'crypt' || !secret.wellFormed) return undefined;
  return /^\$(?:g?y|2[abxy])\$[^$]*|^\$7\$.|^\$[56]\$(?:rounds=\d+)?|^\$[^$]*/.exec(secret.hash)?.[0];
}

/** The same method and cost with a salt and a hash of nothing: a setting to spend the same time with. */
export function maskHash(hash: string): string {
  const cost = /^\$7\$.{11}|^\$(?:g?y|2[abxy])\$[^$]*|^\$[56]\$rounds=\d+|^\$[^$]*|^/.exec(hash)?.[0] ?? '';
  return cost + hash.slice(cost.length).replace(/[^$]/g, '.');
}

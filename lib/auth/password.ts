/**
 * Whether a password is the right one: plain text, crypt(3) strings by the host's crypt(3), 13-character DES
 * hashes by unix-crypt-td-js where that cannot do them, keys and digests by node:crypto.
 *
 * Invariants: an empty password is never right, nor is anything right for a locked or odd field;
 * comparisons take the same time wherever the difference is; what cannot be told throws.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { Unavailable } from '../errors.js';
import type { Host } from '../host/host.js';
import { matchesPbkdf2, matchesSaltedDigest } from './digests.js';
import { otherForm, preparePassword } from './prepare-password.js';
import { matchesScramKeys } from './scram-keys.js';
import { MAX_PASSWORD, type Secret } from './secret.js';

/** All that checking needs of the host. */
export type Crypt = Pick<Host, 'crypt'>;

/** `unusable`: no password is right, because the stored hash is none that crypt(3) knows. */
export type Comparison = 'right' | 'wrong' | 'unusable';

/**
 * @param password octets as the client sent them
 * @throws Unavailable when the host cannot do this kind of hash
 */
export async function comparePassword(
  host: Crypt,
  password: Uint8Array,
  secret: Secret,
): Promise<Comparison> {
  // Before any hashing: a long password must cost nothing.
  if (passwordProblem(password) !== undefined) return 'wrong';
  const first = await compareOctets(host, password, secret);
  // Keys have forms of their own.
  if (first !== 'wrong' || secret.kind === 'scram') return first;
  // RFC 4616 §2: SASLprep both. What is stored is not always prepared, so the octets as sent come first.
  if (secret.kind === 'plain') {
    return outcome(sameOctets(await preparePassword(password), await preparePassword(secret.octets)));
  }
  const other = await otherForm(password);
  if (other === undefined || passwordProblem(other) !== undefined) return first;
  return compareOctets(host, other, secret);
}

async function compareOctets(host: Crypt, password: Uint8Array, secret: Secret): Promise<Comparison> {
  switch (secret.kind) {
    case 'plain':
      return outcome(sameOctets(password, secret.octets));
    case 'des':
      return outcome(
        sameOctets(Buffer.from(await desCrypt(host, password, secret.hash), 'latin1'), secret.hash),
      );
    case 'crypt':
      return compareCrypt(host, password, secret.hash, secret.wellFormed);
    case 'scram':
      return outcome(await matchesScramKeys(password, secret));
    case 'pbkdf2':
      return outcome(await matchesPbkdf2(password, secret));
    case 'salted':
      return outcome(matchesSaltedDigest(password, secret));
    case 'locked':
    case 'unknown':
      return 'unusable';
  }
}

async function compareCrypt(
  host: Crypt,
  password: Uint8Array,
  hash: string,
  wellFormed: boolean,
): Promise<Comparison> {
  const result = await host.crypt(password, hash);
  // crypt(3): null, or a token that begins with `*`, is a failure and no hash.
  if (result !== undefined && !result.startsWith('*'))
    return outcome(sameOctets(Buffer.from(result, 'latin1'), hash));
  if (!wellFormed) return 'unusable';
  // Out of memory (yescrypt takes 16 MB), or a method this libcrypt was built without, or no libcrypt at
  // all: the password may be right, so "wrong" would be a lie.
  const cause = new Error(`crypt(3) cannot do ${/^\$[^$]*\$/.exec(hash)?.[0] ?? 'this'} hashes here`);
  throw new Unavailable('SYS/TEMP', 'Cannot check passwords now', { cause });
}

/** Why no user can have this password, or undefined. */
export function passwordProblem(password: Uint8Array): string | undefined {
  if (password.length === 0) return 'empty password';
  if (password.length > MAX_PASSWORD) return 'password over 511 octets';
  if (password.includes(0)) return 'NUL in password';
  return undefined;
}

/** Compares digests of equal length, so the time tells nothing of either side, not even its length. */
export function sameOctets(a: Uint8Array, b: Uint8Array | string): boolean {
  return timingSafeEqual(sha256(a), sha256(typeof b === 'string' ? Buffer.from(b, 'latin1') : b));
}

function sha256(octets: Uint8Array): Buffer {
  return createHash('sha256').update(octets).digest();
}

function outcome(same: boolean): Comparison {
  return same ? 'right' : 'wrong';
}

/** The host's takes a third of the time, and none of this thread; but it may be built without DES, or be none. */
async function desCrypt(host: Crypt, password: Uint8Array, hash: string): Promise<string> {
  try {
    const result = await host.crypt(password, hash);
    if (result !== undefined) return result;
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
  }
  return portableDesCrypt(password, hash);
}

/** Octets, not text: of a string the package hashes UTF-16 units, which is not what crypt(3) does. */
async function portableDesCrypt(password: Uint8Array, hash: string): Promise<string> {
  const { default: crypt } = await import('unix-crypt-td-js');
  return crypt(password, hash);
}

/** Loads what is loaded when first needed, for a process that may lose the right to read its own files. */
export async function warmUpPasswords(): Promise<void> {
  await portableDesCrypt(new Uint8Array(), '..');
  // Six megabytes that few passwords need: only for a process that is about to give up root.
  if (process.geteuid?.() === 0) await import('@mongodb-js/saslprep');
}

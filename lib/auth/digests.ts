/**
 * Passwords stored as LDAP servers and Dovecot store them: a digest of password and salt (`{SSHA}` and
 * its kin), and `{PBKDF2}`, `$1$SALT$ITERATIONS$KEY` with HMAC-SHA-1.
 */
import { createHash, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { inTurn } from '../host/hashing-gate.js';
import { fromHex } from './encodings.js';
import { MAX_ITERATIONS } from './scram-keys.js';

/** Fast to try passwords against: for users who come from elsewhere. */
export interface SaltedDigest {
  readonly hash: 'sha1' | 'sha256' | 'sha512';
  readonly digest: Uint8Array;
  readonly salt: Uint8Array;
}

export interface Pbkdf2Key {
  readonly iterations: number;
  readonly salt: Uint8Array;
  readonly key: Uint8Array;
}

/** Octets. */
const DIGEST_LENGTH = { sha1: 20, sha256: 32, sha512: 64 } as const;
const PBKDF2_HASH = 'sha1';
const PBKDF2_KEY_LENGTH = 20;

const derive = promisify(pbkdf2);

/** @param octets the digest and, behind it, the salt. Undefined when there is no salt */
export function readSaltedDigest(hash: SaltedDigest['hash'], octets: Uint8Array): SaltedDigest | undefined {
  const length = DIGEST_LENGTH[hash];
  if (octets.length <= length) return undefined;
  return { hash, digest: octets.subarray(0, length), salt: octets.subarray(length) };
}

export function matchesSaltedDigest(password: Uint8Array, { hash, digest, salt }: SaltedDigest): boolean {
  return timingSafeEqual(createHash(hash).update(password).update(salt).digest(), digest);
}

/** Undefined when the text is not whole, or takes more than MAX_ITERATIONS. */
export function readPbkdf2(text: string): Pbkdf2Key | undefined {
  const match = /^\$1\$([\x21-\x23\x25-\x7e]{1,128})\$([1-9][0-9]{0,9})\$([0-9A-Fa-f]+)$/.exec(text);
  const iterations = Number(match?.[2]);
  const key = fromHex(match?.[3] ?? '');
  if (match === null || iterations > MAX_ITERATIONS || key?.length !== PBKDF2_KEY_LENGTH) return undefined;
  // Dovecot's salt is the text itself, not what it might encode.
  return { iterations, salt: Buffer.from(match[1]!, 'latin1'), key };
}

/** On a worker thread, in turn with all other slow hashes. */
export async function matchesPbkdf2(password: Uint8Array, stored: Pbkdf2Key): Promise<boolean> {
  const { salt, iterations, key } = stored;
  return timingSafeEqual(
    await inTurn(() => derive(password, salt, iterations, PBKDF2_KEY_LENGTH, PBKDF2_HASH)),
    key,
  );
}

/**
 * SCRAM keys (RFC 5802 §3): what a server stores in place of a password, and how a password is checked
 * against them. The text is Dovecot's: `iterations,salt,StoredKey,ServerKey`, the last three in base64.
 *
 * Invariant: the keys do not let anybody log in (StoredKey is a hash of what a client must know), but
 * they let one try passwords, and act as the server.
 */
import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { inTurn } from '../host/hashing-gate.js';
import { fromBase64 } from './encodings.js';
import { otherForm, preparePassword } from './prepare-password.js';

/** As node:crypto names them. */
export type ScramHash = 'sha1' | 'sha256';

export interface ScramKeys {
  readonly hash: ScramHash;
  readonly iterations: number;
  readonly salt: Uint8Array;
  readonly storedKey: Uint8Array;
  readonly serverKey: Uint8Array;
}

/** Octets of a digest, and so of each key. */
const KEY_LENGTH: Readonly<Record<ScramHash, number>> = { sha1: 20, sha256: 32 };
/** A few seconds of one processor. A number with more digits than meant must not stop the server. */
export const MAX_ITERATIONS = 5_000_000;

const derive = promisify(pbkdf2);

/** Reads the text of keys. Undefined when it is not whole, or takes more than MAX_ITERATIONS. */
export function readScramKeys(hash: ScramHash, text: string): ScramKeys | undefined {
  const [count = '', ...encoded] = text.split(',');
  const iterations = Number(count);
  const [salt, storedKey, serverKey] = encoded.map(fromBase64);
  if (!/^[1-9][0-9]{0,9}$/.test(count) || iterations > MAX_ITERATIONS || encoded.length !== 3)
    return undefined;
  if (salt === undefined || salt.length === 0) return undefined;
  if (storedKey?.length !== KEY_LENGTH[hash] || serverKey?.length !== KEY_LENGTH[hash]) return undefined;
  return { hash, iterations, salt, storedKey, serverKey };
}

/** The text of keys, without the `{SCHEME}` before it. */
export function writeScramKeys({ iterations, salt, storedKey, serverKey }: ScramKeys): string {
  return [String(iterations), ...[salt, storedKey, serverKey].map(toBase64)].join(',');
}

/** Keys for a password, by PBKDF2 on a worker thread. */
export async function deriveScramKeys(
  password: Uint8Array,
  parameters: Pick<ScramKeys, 'hash' | 'iterations' | 'salt'>,
): Promise<ScramKeys> {
  return deriveUnprepared(await preparePassword(password), parameters);
}

/** Whether `keys` were derived from this password, or, as Dovecot does it, from its octets as they are. */
export async function matchesScramKeys(password: Uint8Array, keys: ScramKeys): Promise<boolean> {
  const other = await otherForm(password);
  for (const octets of other === undefined ? [password] : [other, password]) {
    const { storedKey } = await deriveUnprepared(octets, keys);
    if (timingSafeEqual(storedKey, keys.storedKey)) return true;
  }
  return false;
}

async function deriveUnprepared(
  password: Uint8Array,
  { hash, iterations, salt }: Pick<ScramKeys, 'hash' | 'iterations' | 'salt'>,
): Promise<ScramKeys> {
  const salted = await inTurn(() => derive(password, salt, iterations, KEY_LENGTH[hash], hash));
  const hmac = (text: string) => createHmac(hash, salted).update(text).digest();
  // RFC 5802 §3: StoredKey := H(ClientKey)
  const storedKey = createHash(hash).update(hmac('Client Key')).digest();
  return { hash, iterations, salt, storedKey, serverKey: hmac('Server Key') };
}

function toBase64(octets: Uint8Array): string {
  return Buffer.from(octets).toString('base64');
}

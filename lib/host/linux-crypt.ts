/**
 * crypt(3) through libcrypt's crypt_r, off the main thread and two at a time (hashing-gate.ts): yescrypt
 * or bcrypt take 50 ms to seconds.
 *
 * Buffers that C writes to are referenced until the call has ended, and wiped then.
 */
import koffi, { type KoffiFunc } from 'koffi';
import { Unavailable } from '../errors.js';
import { inTurn } from './hashing-gate.js';

/** CRYPT_MAX_PASSPHRASE_SIZE of libxcrypt is 512 with the NUL. */
const MAX_PASSWORD = 511;
/** `struct crypt_data`: 32768 octets in libxcrypt, 131232 in the libcrypt that old glibc brought along. */
const CRYPT_DATA = 131_232;

type CryptR = KoffiFunc<(password: Buffer, setting: Buffer, data: Buffer) => string | null>;

let cryptR: CryptR | undefined;
/** Wiped, and used again: as many as run at a time. */
const spare: Buffer[] = [];

/** Loads libcrypt if it is not loaded. Throws `Unavailable` when the host has none. */
export function loadCrypt(): CryptR {
  if (cryptR !== undefined) return cryptR;
  const failures: unknown[] = [];
  // The name on Debian and most others, the name on Fedora and Arch, and musl, where libc has it.
  for (const library of ['libcrypt.so.1', 'libcrypt.so.2', null]) {
    try {
      cryptR = koffi
        .load(library)
        .func('crypt_r', 'str', ['void *', 'void *', 'void *']) as unknown as CryptR;
      return cryptR;
    } catch (error) {
      failures.push(error);
    }
  }
  const cause = new AggregateError(failures, 'no crypt_r in libcrypt.so.1, libcrypt.so.2 or libc');
  throw new Unavailable('SYS/TEMP', 'Cannot check passwords now', { cause });
}

/** The contract is `Host.crypt`. */
export async function crypt(password: Uint8Array, setting: string): Promise<string | undefined> {
  if (password.length > MAX_PASSWORD || password.includes(0)) {
    throw new RangeError('a password for crypt(3) has at most 511 octets and no NUL');
  }
  // Nothing outside printable ASCII is a setting; libxcrypt refuses it too, older ones do not all.
  if (!/^[\x21-\x7e]{1,383}$/.test(setting)) return undefined;
  const call = loadCrypt();
  return inTurn(() => hash(call, password, setting));
}

function hash(call: CryptR, password: Uint8Array, setting: string): Promise<string | undefined> {
  const key = Buffer.alloc(MAX_PASSWORD + 1);
  key.set(password);
  const salt = Buffer.from(`${setting}\0`, 'latin1');
  const data = spare.pop() ?? Buffer.alloc(CRYPT_DATA);
  return new Promise((resolve, reject) => {
    call.async(key, salt, data, (error, result) => {
      for (const buffer of [key, salt, data]) buffer.fill(0);
      spare.push(data);
      if (error) reject(error);
      // crypt(3): null or a "failure token" that begins with * and can match no stored hash.
      else resolve(result === null || result.startsWith('*') ? undefined : result);
    });
  });
}

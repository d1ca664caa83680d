/**
 * Salts for SCRAM users whose users file has none: those with a {PLAIN} password, and those who do not
 * exist. RFC 5802 §9 leaves it to us not to tell which is which.
 *
 * Invariant: a user has the same salt at each login, in every process of this installation, as users with
 * stored keys have. Hence the key in a file: a random one per process would tell apart in inetd mode.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { link, open, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, Unavailable } from '../errors.js';

/** What the salts are made of; asked for when the first one is needed. Throws `Unavailable`. */
export type SaltKey = () => Promise<Uint8Array>;

const KEY_OCTETS = 32;

/** A key of this process alone, where there is no second one to agree with. */
export function ownSaltKey(): SaltKey {
  const key = randomBytes(KEY_OCTETS);
  return async () => key;
}

/**
 * The key of the installation: `.salt-key` in the state directory, made when missing. The dot keeps it
 * apart from the directories of users.
 */
export function storedSaltKey(stateDir: string): SaltKey {
  const path = join(stateDir, '.salt-key');
  let key: Promise<Uint8Array> | undefined;
  return () => {
    key ??= readOrMake(path).catch((cause: unknown) => {
      key = undefined; // The next one looks again.
      throw new Unavailable('SYS/TEMP', 'Cannot check passwords now', { cause });
    });
    return key;
  };
}

/** @param length octets wanted, at most 32 */
export function saltOf(key: Uint8Array, hash: string, user: Uint8Array, length: number): Buffer {
  return createHmac('sha256', key).update(`${hash}\0`).update(user).digest().subarray(0, length);
}

async function readOrMake(path: string): Promise<Uint8Array> {
  const found = await read(path);
  if (found !== undefined) return found;
  const draft = `${path}.${randomBytes(8).toString('hex')}`;
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(randomBytes(KEY_OCTETS));
    await file.sync();
  } finally {
    await file.close();
  }
  // Of two processes that make it at once, one's stays, and both use that.
  await link(draft, path).catch(ignore('EEXIST'));
  await unlink(draft);
  return (await read(path)) ?? Promise.reject(new Error(`${path} is gone`));
}

async function read(path: string): Promise<Uint8Array | undefined> {
  try {
    const key = await readFile(path);
    if (key.length === KEY_OCTETS) return key;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  throw new Error(`${path} is not ${KEY_OCTETS} octets long: remove it`);
}

function ignore(errno: string): (error: unknown) => void {
  return error => {
    if (errnoOf(error) !== errno) throw error;
  };
}

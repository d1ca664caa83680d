/**
 * Replaces a users file by an edited one.
 *
 * Invariants: readers see the old file or the new one, whole, whatever happens (temporary file, fsync,
 * rename, fsync of the directory); edits of ours exclude each other (flock(2) on the directory, which leaves
 * nothing behind and needs no file to be there); what somebody else saved meanwhile, with an editor, is not
 * overwritten. Owner, group and mode stay; a symbolic link stays one. ACLs and other extended attributes are
 * those of any new file in the directory.
 */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, realpath, rename, rm, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EX, errnoOf, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { fileIdentity, readNow, readSettled, type Snapshot } from './file-snapshot.js';

/** Milliseconds. */
const LOCK_TIMEOUT = 30_000;
const LOCK_RETRY = 25;
/** Edits begun again because somebody else saved the file meanwhile. */
const MAX_TRIES = 20;

export interface Edited {
  /** The real path, behind symbolic links. */
  readonly path: string;
  readonly created: boolean;
  /** What the file holds now, latin1. */
  readonly text: string;
}

/** The text of a users file, latin1. @throws UsageError EX_NOINPUT or EX_NOPERM */
export async function readUsers(path: string): Promise<string> {
  const snapshot = await readNow(path).catch((error: unknown) => fail(path, error));
  return snapshot.content.toString('latin1');
}

/**
 * Edits a users file.
 * @param edit gets the text and returns the new one, latin1; run again when the file has changed meanwhile.
 * What it throws is passed on, and nothing is changed then
 * @param create a missing file is an empty one: the new one gets mode 0600 and the owner and group of its directory
 * @throws UsageError EX_NOINPUT, EX_NOPERM, EX_IOERR; EX_TEMPFAIL when somebody else keeps the lock
 */
export async function editUsers(
  host: Pick<Host, 'flock'>,
  path: string,
  edit: (text: string) => string,
  create = false,
): Promise<Edited> {
  const real = await resolveFile(path, create).catch((error: unknown) => fail(path, error));
  const directory = await open(dirname(real), constants.O_RDONLY | constants.O_DIRECTORY).catch(
    (error: unknown) => fail(path, error),
  );
  try {
    await lock(host, directory, path);
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const edited = await editOnce(directory, real, edit, create);
      if (edited !== undefined) return edited;
    }
    throw new UsageError(`users file ${path}: somebody else keeps saving it`, EX.TEMPFAIL);
  } catch (error) {
    if (errnoOf(error) !== undefined) fail(path, error);
    throw error;
  } finally {
    await directory.close();
  }
}

/** @returns undefined when the file has changed meanwhile */
async function editOnce(
  directory: FileHandle,
  path: string,
  edit: (text: string) => string,
  create: boolean,
): Promise<Edited | undefined> {
  const before = await readWhole(path).catch((error: unknown) => {
    if (create && errnoOf(error) === 'ENOENT') return undefined;
    // Not all of its reasons are errors of the system.
    return fail(path, error);
  });
  const old = before?.content.toString('latin1');
  const text = edit(old ?? '');
  if (text === old) return { path, created: false, text };
  // Of the file it replaces, or of the directory.
  const like = before === undefined ? await directory.stat() : await stat(path);
  const temporary = await writeBeside(path, text, like, before !== undefined);
  try {
    if (identityNow(path) !== before?.identity) {
      await unlink(temporary);
      return undefined;
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
  await directory.sync();
  return { path, created: before === undefined, text };
}

/** Undefined when there is no such file. */
function identityNow(path: string): string | undefined {
  try {
    return fileIdentity(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Waits while somebody seems to be writing it. */
async function readWhole(path: string): Promise<Snapshot> {
  const now = await readNow(path);
  return now.fresh ? readSettled(path) : now;
}

/** A file of that content on the disk, with the owner and group of `like`. @returns its path */
async function writeBeside(path: string, text: string, like: Stats, copyMode: boolean): Promise<string> {
  const temporary = join(dirname(path), `.${basename(path)}.new`);
  // We hold the lock, so one that is there is left from a crash.
  await rm(temporary, { force: true });
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(temporary, flags, 0o600);
  try {
    const { uid, gid } = await file.stat();
    if (uid !== like.uid || gid !== like.gid) await file.chown(like.uid, like.gid);
    // After chown(2), which clears bits. Before the content: it is never readable for more people.
    await file.chmod(copyMode ? like.mode & 0o777 : 0o600);
    await file.writeFile(text, 'latin1');
    await file.sync();
    return temporary;
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  } finally {
    await file.close();
  }
}

async function resolveFile(path: string, create: boolean): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!create || errnoOf(error) !== 'ENOENT') throw error;
    // A symbolic link that leads nowhere is left alone: open(2) with O_EXCL and rename(2) would replace it.
    if (await isThere(path)) throw error;
    return join(await realpath(dirname(path)), basename(path));
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

async function lock(host: Pick<Host, 'flock'>, directory: FileHandle, path: string): Promise<void> {
  const deadline = performance.now() + LOCK_TIMEOUT;
  while (!host.flock(directory.fd, 'write')) {
    if (performance.now() > deadline) {
      throw new UsageError(`users file ${path}: another program keeps its directory locked`, EX.TEMPFAIL);
    }
    await delay(LOCK_RETRY * (0.5 + Math.random()));
  }
}

function fail(path: string, cause: unknown): never {
  const [text, code] = describe(cause);
  throw new UsageError(`users file ${path}: ${text}`, code, { cause });
}

function describe(cause: unknown): [string, number] {
  switch (errnoOf(cause)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return ['no such file', EX.NOINPUT];
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return ['permission denied', EX.NOPERM];
    default:
      return [cause instanceof Error ? cause.message : String(cause), EX.IOERR];
  }
}

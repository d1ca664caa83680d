/**
 * The directories of our own. A state directory belongs to one model: `shared`, where one service account
 * holds the state of all mailboxes, or `per-user`, where root makes a directory for each user, who owns it.
 * A journal written under one must not be looked for, nor trusted, under the other, so `STATE/model` says
 * which it is and the other refuses to start.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { EX, errnoOf, UsageError } from '../errors.js';

export type Model = 'shared' | 'per-user';

export interface DirectoryOwner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Makes the directory if it is missing, and refuses one that others could have tampered with.
 * @param owner whose it is
 * @throws UsageError EX_CANTCREAT, or EX_CONFIG with the remedy
 */
export function ownDirectory(dir: string, owner: DirectoryOwner, mode: number): void {
  try {
    if (makeReachable(dir, mode)) {
      chmodSync(dir, mode); // Whatever our umask.
      if (process.geteuid?.() === 0) chownSync(dir, owner.uid, owner.gid);
      syncEntry(dir);
    }
  } catch (cause) {
    throw new UsageError(`cannot create ${dir}: ${errnoOf(cause)}`, EX.CANTCREAT, { cause });
  }
  const stat = statSync(dir);
  if (!stat.isDirectory()) throw new UsageError(`${dir} is not a directory`, EX.CONFIG);
  const byGroup = stat.uid === 0 && stat.gid === owner.gid && (stat.mode & 0o070) === 0o070;
  if (stat.uid !== owner.uid && !byGroup) {
    throw new UsageError(`${dir} is owned by uid ${stat.uid}: chown it to uid ${owner.uid}`, EX.CONFIG);
  }
  if ((stat.mode & 0o002) !== 0) {
    throw new UsageError(`${dir} is writable by everybody: chmod o-w ${dir}`, EX.CONFIG);
  }
}

/**
 * mkdir(2), with parents that others may pass through: it is not for nothing that `owner` is another.
 * @returns whether it was missing
 */
function makeReachable(dir: string, mode: number): boolean {
  const umask = process.umask(0o022);
  try {
    if (existsSync(dir)) return false;
    if (!existsSync(dirname(dir))) mkdirSync(dirname(dir), { recursive: true });
    mkdirSync(dir, { mode });
    return true;
  } finally {
    process.umask(umask);
  }
}

/** Makes the name of a new directory durable: a journal in it is worth nothing without. */
export function syncEntry(dir: string): void {
  const fd = openSync(dirname(dir), 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** @throws UsageError EX_CONFIG when the directory has been used by the other model */
export function claimModel(stateDir: string, model: Model): void {
  const path = join(stateDir, 'model');
  const used = modelOf(stateDir);
  if (used === model) return;
  if (used !== undefined) {
    throw new UsageError(
      `${stateDir} holds the state of a ${used} server, and this one is ${model}: give each its --state-dir`,
      EX.CONFIG,
    );
  }
  try {
    writeFileSync(path, `${model}\n`, { flag: 'wx', mode: 0o644 });
  } catch (cause) {
    // Two may start at once: the same model is as good as our own.
    if (errnoOf(cause) === 'EEXIST' && modelOf(stateDir) === model) return;
    throw new UsageError(`cannot create ${path}: ${errnoOf(cause)}`, EX.CANTCREAT, { cause });
  }
}

/** The model a state directory has been used by, if any. */
export function modelOf(stateDir: string): Model | undefined {
  const path = join(stateDir, 'model');
  try {
    if (!lstatSync(path).isFile()) throw new UsageError(`${path} is not a file`, EX.CONFIG);
    const text = readFileSync(path, 'latin1').trim();
    if (text === 'shared' || text === 'per-user') return text;
    throw new UsageError(`${path}: neither "shared" nor "per-user"`, EX.CONFIG);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

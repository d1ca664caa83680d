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
  constants,
  existsSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  unlinkSync,
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
    throw new UsageError(`cannot create ${dir}: ${errnoOf(cause)} (see --state-dir)`, EX.CANTCREAT, {
      cause,
    });
  }
  const stat = statSync(dir);
  if (!stat.isDirectory()) throw new UsageError(`${dir} is not a directory`, EX.CONFIG);
  const byGroup = stat.uid === 0 && stat.gid === owner.gid && (stat.mode & 0o070) === 0o070;
  if (stat.uid !== owner.uid && !byGroup) {
    throw new UsageError(`${dir} is owned by uid ${stat.uid}: chown it to uid ${owner.uid}`, EX.CONFIG);
  }
  if ((stat.mode & mode & 0o011) !== (mode & 0o011)) {
    throw new UsageError(`${dir} cannot be passed through by users: chmod 0711 ${dir}`, EX.CONFIG);
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
  } catch (error) {
    // Another process for another client, at the same moment: it is looked at as it is.
    if (errnoOf(error) === 'EEXIST') return false;
    throw error;
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

/**
 * The directories of a process for one connection. As root it becomes its client's user later.
 * @throws UsageError as below
 */
export function ownDirectories(dirs: { readonly stateDir: string; readonly runtimeDir: string }): void {
  const owner = { uid: process.geteuid?.() ?? -1, gid: process.getegid?.() ?? -1 };
  const root = owner.uid === 0;
  const model = root ? 'per-user' : 'shared';
  refuseOtherModel(dirs.stateDir, model);
  // Users reach their own directory in STATE through it, and see nothing else.
  ownDirectory(dirs.stateDir, owner, root ? 0o711 : 0o700);
  ownDirectory(dirs.runtimeDir, owner, 0o700);
  claimModel(dirs.stateDir, model);
}

/**
 * Looks before anything else does: the other model owns its directories otherwise, and advice to change
 * that would be bad advice.
 * @throws UsageError EX_CONFIG when the directory has been used by the other model
 */
export function refuseOtherModel(stateDir: string, model: Model): void {
  const used = modelOf(stateDir);
  if (used === undefined || used === model) return;
  throw new UsageError(
    `${stateDir} holds the state of a ${used} server, and this one is ${model}: give each its --state-dir`,
    EX.CONFIG,
  );
}

/** Writes down whose directory it is from now on. @throws UsageError EX_CANTCREAT, or as `refuseOtherModel` */
export function claimModel(stateDir: string, model: Model): void {
  refuseOtherModel(stateDir, model);
  if (modelOf(stateDir) === model) return;
  const path = join(stateDir, 'model');
  try {
    writeWhole(path, `${model}\n`);
  } catch (cause) {
    if (errnoOf(cause) !== 'EEXIST') {
      throw new UsageError(`cannot create ${path}: ${errnoOf(cause)}`, EX.CANTCREAT, { cause });
    }
    // Two may start at once: the same model is as good as our own.
    refuseOtherModel(stateDir, model);
  }
}

/**
 * Makes a file that is there with all of its text or not at all: another process that starts now, or after
 * a power loss, must not find half of it. Whatever our umask, everybody may read it. Throws EEXIST.
 */
function writeWhole(path: string, text: string): void {
  const draft = `${path}.${process.pid}`;
  rmSync(draft, { force: true }); // Of a process that had our pid, and was killed here.
  const fd = openSync(draft, 'wx');
  try {
    writeFileSync(fd, text);
    fchmodSync(fd, 0o644);
    fsyncSync(fd);
    linkSync(draft, path);
  } finally {
    closeSync(fd);
    unlinkSync(draft);
  }
}

/**
 * The model a state directory has been used by, if any.
 * @throws UsageError EX_CONFIG or EX_NOPERM when that cannot be told
 */
export function modelOf(stateDir: string): Model | undefined {
  const path = join(stateDir, 'model');
  let fd: number;
  try {
    // The directory may be anybody's still: no link is followed, no FIFO waited for.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(cause) ?? '')) return undefined;
    const code = errnoOf(cause) === 'EACCES' ? EX.NOPERM : EX.CONFIG;
    throw new UsageError(`cannot read ${path}: ${errnoOf(cause)}`, code, { cause });
  }
  try {
    if (!fstatSync(fd).isFile()) throw new UsageError(`${path} is not a file`, EX.CONFIG);
    const text = readFileSync(fd, 'latin1').trim();
    if (text === 'shared' || text === 'per-user') return text;
    throw new UsageError(`${path}: neither "shared" nor "per-user"`, EX.CONFIG);
  } finally {
    closeSync(fd);
  }
}

/**
 * The files that become dotlocks: made under a temporary name, open, and saying whose they are. To make one for each
 * session and to remove it is what costs a file system most of a dotlock; so one whose lock is given back may be used
 * again: it gets a temporary name, and is linked to the name of the next lock of this process.
 *
 * Invariants: there are spares only while this process holds other locks, and for a moment after, so an idle server
 * leaves nothing in the spool; a spare says what every lock of this process says, and stays open, so that its inode is no other file's.
 */
import * as fs from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname } from 'node:path';
import { errnoOf } from '../errors.js';
import { isNoRoom } from './io.js';
import { ownerLine } from './lock-line.js';

/** A lock file of ours, open. */
export interface LockFile {
  readonly path: string;
  readonly fd: number;
  /** Whether it says whose it is. */
  readonly signed: boolean;
}

/** Names of temporary files must not repeat within the process. */
let serial = 0;

/** Of this host, as names of files have it; a process keeps to one, whatever becomes of the host's. */
const HOST = hostname().replace(/[^A-Za-z0-9.-]/g, '_');

/** A name beside the lock of a mailbox that nobody else uses. */
export function temporaryName(mailboxPath: string): string {
  return `${dirname(mailboxPath)}/${prefixOf(mailboxPath)}${process.pid}.${++serial}`;
}

/** The process of this host that has given such a name; undefined for any other name. */
export function makerOf(name: string, mailboxPath: string): number | undefined {
  const prefix = prefixOf(mailboxPath);
  const [pid] = name.startsWith(prefix)
    ? (/^[1-9]\d{0,8}(?=\.\d+$)/.exec(name.slice(prefix.length)) ?? [])
    : [];
  return pid === undefined ? undefined : Number(pid);
}

function prefixOf(mailboxPath: string): string {
  return `.${basename(mailboxPath)}.lock.${HOST}.`;
}

/** Makes a file for the lock of a mailbox. @throws the error of the system call */
export function makeLockFile(mailboxPath: string): LockFile {
  for (;;) {
    const path = temporaryName(mailboxPath);
    let fd: number;
    try {
      fd = fs.openSync(path, 'wx', 0o644);
    } catch (error) {
      // Left behind by a process that had our pid before.
      if (errnoOf(error) !== 'EEXIST') throw error;
      continue;
    }
    try {
      fs.fchmodSync(fd, 0o644); // Whatever our umask: others must be able to read the pid.
      return { path, fd, signed: sign(fd) };
    } catch (error) {
      dropLockFile({ path, fd });
      throw error;
    }
  }
}

/**
 * Says whose lock it is. On a full disk it does not, and is a lock all the same, stale only when old: else
 * nobody could log in to delete what fills the disk.
 */
function sign(fd: number): boolean {
  const line = ownerLine();
  try {
    return fs.writeSync(fd, line) === line.length;
  } catch (error) {
    if (!isNoRoom(error)) throw error;
    return false;
  }
}

/** Removes a file that is no lock, or not yet, if nobody else has done so. */
export function dropLockFile({ path, fd }: Pick<LockFile, 'path' | 'fd'>): void {
  try {
    fs.unlinkSync(path);
  } catch {
    // Its name is of no use to anybody; `check` tells of those that stay.
  }
  fs.closeSync(fd);
}

/** What `run` throws, if anything. */
export function failureOf(run: () => void): unknown {
  try {
    run();
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Under load, locks come about as fast as they go. */
const MOST_SPARES = 4;

/** After its last lock a process may take the next soon: so long it keeps its spares, milliseconds. */
const KEPT = 100;

const spares: LockFile[] = [];
/** Whether it will be looked soon if they are still of use. */
let dropping = false;
/** Locks of this process. */
let held = 0;

process.on('exit', () => dropSpares());

/** One more lock is held. */
export function lockTaken(): void {
  held++;
}

/** One less; its file is removed, or a spare by now. */
export function lockGone(): void {
  held--;
  if (held > 0 || spares.length === 0 || dropping) return;
  dropping = true;
  setTimeout(() => {
    dropping = false;
    if (held === 0) dropSpares();
  }, KEPT).unref();
}

/** Whether the file of a lock that is still counted is worth keeping. */
export function wantsSpare(): boolean {
  return held > 1 && spares.length < MOST_SPARES;
}

export function keepSpare(spare: LockFile): void {
  spares.push(spare);
}

/** A spare beside `mailboxPath`, which is the caller's from now on. */
export function takeSpare(mailboxPath: string): LockFile | undefined {
  const last = spares.at(-1);
  return last !== undefined && dirname(last.path) === dirname(mailboxPath) ? spares.pop() : undefined;
}

function dropSpares(): void {
  for (const spare of spares.splice(0)) dropLockFile(spare);
}

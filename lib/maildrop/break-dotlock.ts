/**
 * Takes a stale dotlock out of the way. Unlinking by name alone would be a race: between the judgement and the unlink
 * the stale lock may have become somebody's fresh one. So all is done under the kernel lock on the mailbox, after
 * another look, so that two breakers cannot take a lock from each other; what is moved away is looked at again, and put
 * back if it is another.
 */
import * as fs from 'node:fs';
import type { Host } from '../host/host.js';
import { type FileStat, lookNow } from './io.js';
import { failureOf, temporaryName } from './lock-file.js';
import type { UpdateId } from './lock-line.js';
import { OwnDotlock } from './own-dotlock.js';
import { inspectDotlock, type LockSighting, sameSighting } from './stale-dotlock.js';

export interface Breaking {
  readonly path: string;
  readonly mailboxPath: string;
  /** The mailbox file, open for writing; undefined for a session that may only read: it leaves stale locks alone. */
  readonly mailboxFd: number | undefined;
  readonly host: Host;
  /** Runs a function with the group that may write the spool. */
  readonly privileged: <T>(run: () => T) => T;
}

/** Removes the lock that was judged to be stale. @throws EBUSY when it stays */
export function breakDotlock(breaking: Breaking, judged: LockSighting): Promise<void> {
  return underKernelLock(breaking, judged, () => {
    const { path, mailboxPath, host, privileged } = breaking;
    privileged(() => {
      const aside = temporaryName(mailboxPath);
      const failure = failureOf(() => fs.renameSync(path, aside));
      // A sticky spool: only its owner may remove it.
      if (failure !== undefined) throw busy('the stale lock cannot be removed', failure);
      const same = isJudged(lookNow(host, aside), judged);
      // Another's is put back, unless there is a newer one by now: then its owner has lost it anyway.
      const notBack = same ? undefined : failureOf(() => fs.linkSync(aside, path));
      fs.unlinkSync(aside);
      if (!same) throw busy('the lock changed as it was broken', notBack);
    });
  });
}

/**
 * Makes the lock of an UPDATE of ours that was cut off our own, as it is: it must not be gone for a moment, since the
 * mailbox file may be half done.
 * @throws EBUSY when it is not to be had
 */
export function takeOverDotlock(breaking: Breaking, judged: LockSighting): Promise<OwnDotlock> {
  return underKernelLock(breaking, judged, () => {
    const { path, mailboxPath, host } = breaking;
    let fd: number | undefined;
    const failure = failureOf(() => {
      const flags = fs.constants.O_WRONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;
      fd = fs.openSync(path, flags);
    });
    if (fd === undefined) throw busy('the lock of an interrupted update cannot be taken over', failure);
    const stat = lookNow(host, fd);
    if (isJudged(stat, judged)) return OwnDotlock.takeOver(path, mailboxPath, fd, stat, judged.updates, host);
    fs.closeSync(fd);
    throw busy('the lock changed as it was taken over');
  });
}

/** Whether a lock could be taken over: it is a file of ours that names UPDATEs. */
export function namesOurUpdate({ kind, uid, updates }: LockSighting): readonly UpdateId[] | undefined {
  return kind === 'file' && uid === process.geteuid?.() && updates.length > 0 ? updates : undefined;
}

async function underKernelLock<T>(
  { path, mailboxPath, mailboxFd, host }: Breaking,
  judged: LockSighting,
  run: () => T,
): Promise<T> {
  if (judged.kind !== 'file') throw busy('the stale lock is not a regular file');
  if (mailboxFd === undefined) throw busy('a read-only session breaks no lock');
  if (!host.lockOpenFile(mailboxFd, 'write')) throw busy('the mailbox is locked by fcntl');
  try {
    const now = await inspectDotlock(path, mailboxPath, host);
    if (!sameSighting(now, judged)) throw busy('the lock changed as it was broken');
    return run();
  } finally {
    host.unlockOpenFile(mailboxFd);
  }
}

function isJudged(stat: FileStat, judged: LockSighting): boolean {
  return stat.dev === judged.dev && stat.ino === judged.ino && stat.mtimeNs === judged.mtimeNs;
}

function busy(message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), { code: 'EBUSY' });
}

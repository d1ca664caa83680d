/**
 * The session lock without a session, for whoever finishes an interrupted UPDATE otherwise than at login: that nobody
 * else has it proves that no process of ours is at the mailbox, so that the dotlock of an UPDATE that was cut off may be
 * taken over. Never waited for: who has it has recovered the mailbox, or will. Who logs in meanwhile waits.
 */
import { closeSync } from 'node:fs';
import type { Host } from '../host/host.js';
import { LockedOctets } from './locked-octets.js';
import { openRecord, RECOVERING, recordPath, sessionName, writeRecord } from './session-record.js';

export interface RecoveryLockDeps {
  readonly host: Host;
  /** The directory of the session locks. */
  readonly dir: string;
  /** As in `SessionLockDeps`. */
  readonly perUser: boolean;
}

/**
 * Takes the lock, at the first call only.
 * @returns what gives it back; undefined when somebody else had it then
 * @throws the error of a system call
 */
export type TryRecoveryLock = () => (() => void) | undefined;

/**
 * Opens what a process that is about to give up root cannot open later.
 * @param mailboxPath resolved
 * @throws the error of the system call
 */
export function openRecoveryLock(
  { host, dir, perUser }: RecoveryLockDeps,
  mailboxPath: string,
): TryRecoveryLock {
  const name = sessionName(mailboxPath);
  const fd = openRecord(recordPath(dir, name));
  let asked = false;
  return () => {
    // Its number may be that of another file by now.
    if (asked) return undefined;
    asked = true;
    let giveBack: (() => void) | undefined;
    let isOurs = false;
    try {
      if (!perUser) giveBack = new LockedOctets(host, dir).tryLock(name);
      else if (host.lockOpenFile(fd, 'write')) giveBack = () => closeSync(fd);
      if (giveBack !== undefined) writeRecord(fd, RECOVERING, undefined);
      isOurs = giveBack !== undefined;
      return giveBack;
    } finally {
      if (!isOurs) giveBack?.();
      // That of a mailbox's own lock is closed to end it.
      if (!perUser || giveBack === undefined) closeSync(fd);
    }
  };
}

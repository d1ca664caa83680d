/**
 * An UPDATE that an earlier process began and did not finish: who has one, and that it is finished before a session
 * starts, since what that would show is neither old nor new. How it is finished is in `recovery.ts`.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Unavailable } from '../errors.js';
import type { RecoveryReport } from './found-journal.js';
import { type MaybeLater, type SpoolIo, whenThere } from './io.js';
import { holdsJournal } from './journal.js';
import type { MailboxAccess } from './mailbox-access.js';
import type { Journals } from './move-appended.js';
import { holdsPlan } from './plan-journal.js';
import { recover } from './recovery.js';
import { NO_LOCKS } from './update-locks.js';
import { userOfStateDir } from './user-state-dir.js';

/** The users with a journal in STATE that is not empty. */
export async function unfinishedUsers(io: SpoolIo, stateDir: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(stateDir, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const dir = join(stateDir, entry.name);
    if ((await holdsJournal(io, dir)) || (await holdsPlan(io, dir))) {
      found.push(userOfStateDir(entry.name));
    }
  }
  return found.sort();
}

/**
 * Finishes it, under the mailbox locks.
 * @param access undefined when there is no mailbox file
 */
export function finishInterrupted(
  access: MailboxAccess | undefined,
  journals: Journals,
): MaybeLater<RecoveryReport> {
  return whenThere(recover(access?.file, journals, access ?? NO_LOCKS), report => {
    access?.updated();
    return report;
  });
}

/** For who may not finish it. @throws Unavailable SYS/TEMP when there is one */
export async function refuseInterrupted({ redo, plan }: Journals): Promise<void> {
  const states = [await redo.read(), await plan.read()];
  if (!states.some(({ is }) => is === 'committed' || is === 'other')) return;
  throw new Unavailable('SYS/TEMP', 'an update of this mailbox was interrupted', {
    cause: new Error('a read-only server cannot finish it: run mbox-pop3d recover'),
  });
}

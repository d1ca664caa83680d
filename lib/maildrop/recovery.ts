/**
 * What is done about a journal found beside a mailbox, by whoever has the mailbox locks first (design §7,
 * R0-R3). A journal is acted on only if it is whole, ours, and the mailbox is provably in a state that it
 * describes: each sector is as it was or as it will be. Anything else is a conflict with a program that
 * rewrote the mailbox: nothing is overwritten then, what the mailbox lacks is appended to it (`salvage.ts`),
 * and the journal is kept under another name.
 */
import type { Log } from '../log.js';
import {
  keepWithoutMailbox,
  leaveUnused,
  makeDurable,
  type RecoveryReport,
  setAsideForConflict,
} from './found-journal.js';
import { type MaybeLater, whenThere } from './io.js';
import type { Journal } from './journal.js';
import { type JournalHeader, REDO_AT } from './journal-format.js';
import type { CommittedJournal, JournalState } from './journal-record.js';
import { MailboxCheck } from './mailbox-check.js';
import type { MailboxFile } from './mailbox-file.js';
import { type Journals, movingByPlan } from './move-appended.js';
import { recoverPlan } from './plan-recovery.js';
import { Redo } from './redo.js';
import { salvage } from './salvage.js';
import type { UpdateLocks } from './update-locks.js';

/** One line for what a sysadmin should know of. */
export function logRecovery(log: Log, user: string, report: RecoveryReport): void {
  switch (report.did) {
    case 'nothing':
      return;
    case 'in-use':
      log.write('debug', '-', 'recovery-left', { user });
      return;
    case 'finished':
      log.write('warn', '-', 'update-recovered', { user });
      return;
    case 'kept':
      log.write('error', '-', 'journal-kept', { user, path: report.path, reason: report.reason });
      return;
    case 'ignored':
      log.write('error', '-', 'journal-ignored', { user, path: report.path, reason: report.reason });
      return;
    case 'set-aside': {
      const { path, reason, salvaged } = report;
      log.write('error', '-', 'journal-set-aside', { user, path, reason, salvaged });
    }
  }
}

/**
 * Finishes an interrupted UPDATE. Under the mailbox locks.
 * @param mailbox undefined when there is no mailbox file
 * @param locks those of the mailbox
 * @throws Unavailable SYS/TEMP when the journal is of another version: then nobody may touch the mailbox
 */
export function recover(
  mailbox: MailboxFile | undefined,
  journals: Journals,
  locks: UpdateLocks,
): MaybeLater<RecoveryReport> {
  // At most logins, and so without opening a file.
  const idle = whenThere(journals.plan.isIdle(), is => is && journals.redo.isIdle(true));
  return whenThere(idle, is => (is ? { did: 'nothing' } : recoverFound(mailbox, journals, locks)));
}

async function recoverFound(
  mailbox: MailboxFile | undefined,
  journals: Journals,
  locks: UpdateLocks,
): Promise<RecoveryReport> {
  const plan = await journals.plan.read();
  const redo = await journals.redo.read(true);
  if (plan.is === 'committed') {
    const report = await recoverPlan(mailbox, journals, plan, locks);
    if (report.did === 'kept') return report;
    // Of the other there can only be what was never committed.
    const other = await recoverRedo(mailbox, journals, await journals.redo.read(), locks);
    return other.did === 'nothing' ? report : other;
  }
  const report = await recoverRedo(mailbox, journals, redo, locks);
  return plan.is === 'none' || report.did === 'kept' ? report : leaveUnused(journals.plan, plan);
}

async function recoverRedo(
  mailbox: MailboxFile | undefined,
  journals: Journals,
  state: JournalState,
  locks: UpdateLocks,
): Promise<RecoveryReport> {
  const journal = journals.redo;
  switch (state.is) {
    case 'none':
      return { did: 'nothing' };
    case 'unready':
      await journal.complete();
      return { did: 'nothing' };
    case 'uncommitted':
      await journal.finish();
      return { did: 'nothing' };
    case 'foreign':
    case 'other':
    case 'torn':
      return leaveUnused(journal, state);
    case 'committed':
      return finish(mailbox, journals, state, state.phase, locks);
  }
}

async function finish(
  mailbox: MailboxFile | undefined,
  journals: Journals,
  committed: CommittedJournal,
  phase: 1 | 2,
  locks: UpdateLocks,
): Promise<RecoveryReport> {
  const journal = journals.redo;
  const { header } = committed;
  if (mailbox === undefined) return keepWithoutMailbox(journal);
  locks.updating(header.nonce);
  await makeDurable(journal, mailbox);
  const check = new MailboxCheck(mailbox, journal, committed);
  const stat = await mailbox.stat();
  // The device is not compared: its number may change when the host starts, and the sectors prove more.
  if (stat.ino !== header.ino || stat.uid !== header.uid) {
    const reason = 'the mailbox file is another one';
    // In phase 2 all was in the old file, and what is in the new one is what its maker wanted of it.
    if (phase === 2) return setAsideForConflict(journal, locks, reason, 0);
    return conflict(mailbox, journal, header, reason, locks);
  }
  const isShorter = stat.size < header.oldSize;
  if (isShorter || !(await check.matches(phase))) {
    if (phase === 2 && !(await check.hasMarker())) {
      // Moved by a program that read it as it was, half done: where it ends now, only a human can say.
      if (await check.hasMarkerAnywhere()) {
        const reason = 'the mailbox was rewritten by another program before it was cut';
        return setAsideForConflict(journal, locks, reason, 0);
      }
      // Already cut? Then what has come since stands where it belongs.
      locks.updated();
      await journal.finish();
      return { did: 'finished' };
    }
    const how = isShorter ? 'is shorter than it was' : 'was rewritten by another program';
    return conflict(mailbox, journal, header, `the mailbox ${how}`, locks);
  }
  const redo = new Redo(mailbox, journal, header, locks, movingByPlan(mailbox, journals, locks));
  if (phase === 1 || !(await redo.finishCut())) await redo.run();
  return { did: 'finished' };
}

async function conflict(
  mailbox: MailboxFile,
  journal: Journal,
  header: JournalHeader,
  reason: string,
  locks: UpdateLocks,
): Promise<RecoveryReport> {
  const redo = { fd: journal.fd, start: REDO_AT, end: REDO_AT + header.newSize - header.from };
  return setAsideForConflict(journal, locks, reason, await salvage(mailbox, redo, locks));
}

/**
 * What is done about a plan found beside a mailbox, as recovery.ts does about a journal with redo octets: it
 * is gone on with only if the mailbox file is provably in the state of its last record. Otherwise another
 * program rewrote the file. Every octet that was to be kept was in it then, so nothing is added and nothing
 * overwritten; the plan is kept under another name, with what it had saved for its last step.
 */
import {
  keepWithoutMailbox,
  makeDurable,
  type RecoveryReport,
  setAsideForConflict,
} from './found-journal.js';
import type { MailboxFile } from './mailbox-file.js';
import type { Journals } from './move-appended.js';
import type { CommittedPlan } from './plan-journal.js';
import { PlanSlide } from './plan-slide.js';
import type { UpdateLocks } from './update-locks.js';

/** The same as `recover`, for a plan that was found. */
export async function recoverPlan(
  mailbox: MailboxFile | undefined,
  { redo, plan: journal }: Journals,
  { plan, step }: CommittedPlan,
  locks: UpdateLocks,
): Promise<RecoveryReport> {
  if (mailbox === undefined) return keepWithoutMailbox(journal);
  locks.updating(plan.header.nonce);
  await makeDurable(journal, mailbox);
  // One that is there had no room for what the plan does, and was not dropped yet.
  if ((await redo.read()).is === 'committed') await redo.abandon();
  const aside = (reason: string) => setAsideForConflict(journal, locks, reason, 0);
  const { ino, uid, size } = await mailbox.stat();
  if (ino !== plan.header.ino || uid !== plan.header.uid) return aside('the mailbox file is another one');
  const slide = new PlanSlide(mailbox, journal, plan, locks);
  if (size < step.tail || !(await slide.matches(step))) {
    // Then what has come since stands where it belongs.
    if (step.kind === 'cut' && (await slide.isCut(step))) {
      locks.updated();
      await journal.finish();
      return { did: 'finished' };
    }
    if (step.kind === 'cut') return aside('the mailbox was rewritten by another program before it was cut');
    const how = size < step.tail ? 'is shorter than it was' : 'was rewritten by another program';
    return aside(`the mailbox ${how}`);
  }
  await slide.run(step);
  return { did: 'finished' };
}

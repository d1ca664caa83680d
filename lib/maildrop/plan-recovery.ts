/**
 * What is done about a plan found beside a mailbox, as recovery.ts does about a journal with redo octets: it
 * is gone on with only if the mailbox file is provably in the state of its last record. Otherwise another
 * program rewrote the file. Every octet that was to be kept was in it then, so nothing is added and nothing
 * overwritten; the plan is kept under another name, with what it had saved for its last step.
 */
import {
  keepWithoutMailbox,
  leaveUnused,
  makeDurable,
  type RecoveryReport,
  setAsideForConflict,
} from './found-journal.js';
import type { MailboxFile } from './mailbox-file.js';
import type { Step } from './plan-format.js';
import type { Plan, PlanJournal } from './plan-journal.js';
import { PlanSlide } from './plan-slide.js';
import type { Guard } from './redo.js';

/** The same as `recover`, for a plan. */
export async function recoverPlan(
  mailbox: MailboxFile | undefined,
  journal: PlanJournal,
  guard: Guard,
): Promise<RecoveryReport> {
  const state = await journal.read();
  switch (state.is) {
    case 'none':
      return { did: 'nothing' };
    case 'foreign':
    case 'other':
    case 'torn':
      return leaveUnused(journal, state);
    case 'committed':
      if (mailbox === undefined) return keepWithoutMailbox(journal);
      return finish(mailbox, journal, state.plan, state.step, guard);
  }
}

async function finish(
  mailbox: MailboxFile,
  journal: PlanJournal,
  plan: Plan,
  step: Step,
  guard: Guard,
): Promise<RecoveryReport> {
  await makeDurable(journal, mailbox);
  const aside = (reason: string) => setAsideForConflict(journal, reason, 0);
  const { ino, uid, size } = await mailbox.stat();
  if (ino !== plan.header.ino || uid !== plan.header.uid) return aside('the mailbox file is another one');
  const slide = new PlanSlide(mailbox, journal, plan, guard);
  if (size < step.tail || !(await slide.matches(step))) {
    // Already cut? Then what has come since stands where it belongs.
    if (step.kind === 'cut') {
      await journal.finish();
      return { did: 'finished' };
    }
    const how = size < step.tail ? 'is shorter than it was' : 'was rewritten by another program';
    return aside(`the mailbox ${how}`);
  }
  await slide.run(step);
  return { did: 'finished' };
}

/**
 * Mail that was appended behind the old end of a mailbox, while an UPDATE was interrupted or by a program
 * that takes none of our locks, and a disk that has no room for it in a new journal: it is moved down by a
 * plan. The redo octets are durable in the mailbox by then, so that the redo journal has nothing to add. It
 * is dropped once the plan is on the disk: with a plan beside it, a redo journal is one whose work is done.
 */
import { Unavailable } from '../errors.js';
import { isNoRoom } from './io.js';
import type { Journal } from './journal.js';
import type { MailboxFile } from './mailbox-file.js';
import type { PlanJournal } from './plan-journal.js';
import { type Keeping, NoRoomForPlan, PlanSlide } from './plan-slide.js';
import type { UpdateLocks } from './update-locks.js';

/** The journals of a mailbox. */
export interface Journals {
  readonly redo: Journal;
  /** For what the other has no room for. */
  readonly plan: PlanJournal;
}

/** Moves what lies behind the old end to the new one. */
export type MoveAppended = (keeping: Keeping, noRoom: unknown) => Promise<void>;

/** @returns what `Redo` calls, having found no room */
export function movingByPlan(
  mailbox: MailboxFile,
  { redo, plan }: Journals,
  locks: UpdateLocks,
): MoveAppended {
  return async (keeping, noRoom) => {
    const { slide, first } = await PlanSlide.commit(
      mailbox,
      plan,
      keeping,
      () => locks.mustBeIntact(),
      locks,
    ).catch(error => {
      if (!(error instanceof NoRoomForPlan) && !isNoRoom(error)) throw error;
      const cause = new AggregateError([noRoom, error], `${noRoom}; ${error}`);
      throw new Unavailable('SYS/TEMP', 'disk full, an update of this mailbox is not finished', { cause });
    });
    await redo.abandon();
    await slide.run(first);
  };
}

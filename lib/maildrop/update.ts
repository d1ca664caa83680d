/**
 * The UPDATE state (RFC 1939 §6): removes the marked messages from the mailbox file, in place, so that
 * inode, owner and mode stay and an agent waiting with the file open appends to the right one.
 *
 *   1. take the mailbox locks again if they were yielded, and see that the path is still this file;
 *   2. if anything but our own reading has touched the file, index it again: from the first deletion on
 *      every message must be where it was, and every marked one must be, octet for octet, what the
 *      client asked to delete; mail that has come since is kept;
 *   3. a deleted suffix, or everything, is cut off: ftruncate and fsync are atomic enough, and need no
 *      space. Anything else is written to the journal first, and carried out from there (`redo.ts`); where
 *      there is no room for that, by a plan of fixed size and many small steps (`plan-slide.ts`).
 *
 * Up to 3 nothing is written. From the journal's fsync on, the deletions happen whatever happens to us.
 */
import { createHash } from 'node:crypto';
import { Unavailable } from '../errors.js';
import { firstMarked, planUpdate, type UpdatePlan } from '../mbox/compaction.js';
import type { MailboxIndex } from '../mbox/mailbox-index.js';
import { touchesDuplicates } from './duplicates.js';
import { identitiesOf } from './identities.js';
import type { IndexCache } from './index-cache.js';
import { type FileStat, isNoRoom } from './io.js';
import type { MailboxAccess } from './mailbox-access.js';
import { changeBetween, type MailboxFile } from './mailbox-file.js';
import { type Journals, movingByPlan } from './move-appended.js';
import type { PlanJournal } from './plan-journal.js';
import { type Keeping, NoRoomForPlan, PlanSlide } from './plan-slide.js';
import { Redo } from './redo.js';
import { READ_CHUNK, type Snapshot } from './snapshot.js';
import type { UniqueIdMemory } from './unique-id-memory.js';

/** Marked message-numbers, each with the base64 SHA-256 of its extent in the file. */
export type Marks = ReadonlyMap<number, string>;

/** What is kept for one user in `STATE/USER`, of which an UPDATE needs all but the cache. */
export interface UserState {
  readonly journals: Journals;
  readonly memory: UniqueIdMemory;
  readonly cache: IndexCache;
}

/**
 * Removes the marked messages, durably. The locks are held afterwards; the caller gives them back.
 * @returns the index that they were cut out of
 * @throws Unavailable when they were not removed
 */
export async function updateMailbox(
  snapshot: Snapshot,
  marks: Marks,
  { journals, memory }: Omit<UserState, 'cache'>,
): Promise<MailboxIndex> {
  const { access } = snapshot;
  const remember = async (index: MailboxIndex) => {
    if (!(await touchesDuplicates(access.file, index, marks, memory))) return { index, touched: false };
    const identities = await identitiesOf(access.file, index);
    return { index, touched: await memory.prepare(identities, n => marks.has(n)) };
  };
  try {
    await access.relock();
    const now = await access.file.stat();
    const { index, touched } = await remember(await currentIndex(snapshot, marks, now)).catch(error => {
      if (snapshot.believed === 0) throw error;
      // A message that nobody has looked at yet is not what the cache had of it.
      return scanAgain(snapshot, marks, now).then(remember);
    });
    const plan = planUpdate(index, marks);
    if (plan === undefined) return index;
    await carryOut(access, journals, plan, now);
    if (touched) await memory.commit();
    return index;
  } catch (cause) {
    if (cause instanceof Unavailable) throw cause;
    throw new Unavailable('SYS/TEMP', 'some deleted messages not removed', { cause });
  }
}

async function carryOut(
  access: MailboxAccess,
  journals: Journals,
  plan: UpdatePlan,
  stat: FileStat,
): Promise<void> {
  const mailbox = access.file;
  const { io, fd } = mailbox;
  // A program that takes none of our locks may have appended since: its mail is kept as well.
  const before = await mailbox.stat();
  const verify = async () => {
    await access.mustBeIntact();
    if (changeBetween(before, await mailbox.stat()) === 'other')
      throw changed('it changed while it was read');
  };
  if (changeBetween(stat, before) === 'other') throw changed('it changed while it was read');
  const kept = before.size > stat.size ? [...plan.kept, { start: stat.size, end: before.size }] : plan.kept;
  if (kept.length === 0) {
    await access.mustBeIntact();
    // Nothing may stand behind what is cut off, not even mail that came just now.
    if (changeBetween(before, await mailbox.stat()) !== 'same') throw changed('it changed before it was cut');
    await io.truncate(fd, plan.from);
    const synced = io.sync(fd);
    // Meanwhile, since a client waits; and the descriptor is in use until both are done.
    const times = restoreTimes(mailbox, stat);
    await synced.finally(() => times);
    return;
  }
  const keeping: Keeping = { stat: before, from: plan.from, kept };
  try {
    await redoFromJournal(access, journals, keeping, verify);
  } catch (error) {
    if (!(error instanceof NoRoom)) throw error;
    await slideByPlan(access, journals.plan, keeping, verify, error.cause);
  }
  await restoreTimes(mailbox, stat);
}

/** The journal was not written, for want of room: nothing has happened. */
class NoRoom extends Error {}

async function redoFromJournal(
  access: MailboxAccess,
  journals: Journals,
  { stat: { ino, uid, size }, from, kept }: Keeping,
  verify: () => Promise<void>,
): Promise<void> {
  const journal = journals.redo;
  const mailboxFd = access.file.fd;
  const header = await journal
    .commit({ mailboxFd, stat: { ino, uid }, from, oldSize: size, kept }, verify)
    .catch(cause => {
      throw isNoRoom(cause) ? new NoRoom('the journal', { cause }) : cause;
    });
  const moveAppended = movingByPlan(access.file, journals, access);
  const redoing = new Redo(access.file, journal, header, access, moveAppended);
  try {
    await redoing.run();
  } catch (error) {
    if (!redoing.begun) {
      access.updated();
      await journal.withdraw(error);
    }
    throw error;
  }
}

/** Slower, and needs no room: what was set aside while there was some is enough. */
async function slideByPlan(
  access: MailboxAccess,
  journal: PlanJournal,
  keeping: Keeping,
  verify: () => Promise<void>,
  noRoom: unknown,
): Promise<void> {
  const { slide, first } = await PlanSlide.commit(access.file, journal, keeping, verify, access).catch(
    async error => {
      // The mailbox may have been written over itself: that is no news, either.
      await restoreTimes(access.file, keeping.stat);
      if (!(error instanceof NoRoomForPlan) && !isNoRoom(error)) throw error;
      const cause = new AggregateError([noRoom, error], `${noRoom}; ${error}`);
      throw new Unavailable('SYS/TEMP', 'disk full, deleted messages not removed', { cause });
    },
  );
  await slide.run(first);
}

/** Deleting is not news: biff(1) and mutt compare mtime with atime to tell new mail. */
async function restoreTimes({ io, fd }: MailboxFile, stat: FileStat): Promise<void> {
  try {
    await io.setTimes(fd, stat.atimeNs, stat.mtimeNs);
  } catch {
    // A courtesy that only the owner can do (utimensat(2)): the messages are gone, which is what counts.
  }
}

/**
 * The index the rewrite may go by: the session's own, or a new one that agrees with it where it matters. Of rows
 * from the cache those matter that are marked, and these were proved when they were (`extent-proof.ts`).
 */
async function currentIndex(snapshot: Snapshot, marks: Marks, now: FileStat): Promise<MailboxIndex> {
  if (changeBetween(snapshot.stat, now) === 'same' && snapshot.settled) return snapshot.index;
  return scanAgain(snapshot, marks, now);
}

async function scanAgain(snapshot: Snapshot, marks: Marks, now: FileStat): Promise<MailboxIndex> {
  const index = await snapshot.access.file.scan();
  if (index.size !== now.size) throw changed('its size is still changing');
  const first = firstMarked(marks);
  if (index.messages < snapshot.index.messages || index.hidden !== snapshot.index.hidden) {
    throw changed('messages are missing');
  }
  for (let n = first; n <= snapshot.index.messages; n++) {
    // What was only believed, and stays, may have been elsewhere all the time: it was never looked at.
    if (n <= snapshot.believed && !marks.has(n)) continue;
    const [was, is] = [snapshot.index.extent(n), index.extent(n)];
    if (was.start !== is.start || was.end !== is.end || was.fromCrc !== is.fromCrc) {
      throw changed(`message ${n} has moved`);
    }
  }
  for (const [n, digest] of marks) {
    const { start, end } = index.extent(n);
    if ((await digestOf(snapshot.access.file, start, end)) !== digest)
      throw changed(`message ${n} has changed`);
  }
  return index;
}

function changed(how: string): Unavailable {
  return new Unavailable('SYS/TEMP', 'mailbox was changed by another program, deleted messages not removed', {
    cause: new Error(how),
  });
}

async function digestOf(file: MailboxFile, start: number, end: number): Promise<string> {
  const hash = createHash('sha256');
  for (let position = start; position < end; ) {
    const chunk = await file.read(position, Math.min(end, position + READ_CHUNK));
    if (chunk.length === 0) throw changed('it is shorter than it was');
    hash.update(chunk);
    position += chunk.length;
  }
  return hash.digest('base64');
}

/**
 * Rewrites the mailbox file in place: slides what is kept down over what is not, then cuts the end off.
 * Everything is on the disk when it returns. Under the mailbox locks.
 *
 * Copying downwards in ascending order, a range's source is only ever overwritten by octets already
 * copied from it. Nothing is written past the old end, so a full disk cannot stop it half way on a file
 * system that overwrites in place.
 */
import { errnoOf } from '../errors.js';
import type { UpdatePlan } from '../mbox/compaction.js';
import { type FileStat, readFully, type SpoolIo, writeFully } from './io.js';

/** Octets moved at a time. */
const SLIDE_CHUNK = 1024 * 1024;

/**
 * @param plan what stays, after the first deleted octet
 * @param stat the file as the plan was made for it; its times are restored
 */
export async function rewriteInPlace(
  io: SpoolIo,
  fd: number,
  plan: UpdatePlan,
  stat: FileStat,
): Promise<void> {
  let to = plan.from;
  for (const { start, end } of plan.kept) to = await slide(io, fd, start, end, to);
  // A program that takes none of our locks may have appended meanwhile: its mail is kept as well.
  for (let from = stat.size; ; ) {
    const { size } = await io.fstat(fd);
    if (size === from) break;
    if (size < from) throw new Error('mailbox was truncated while it was rewritten');
    to = await slide(io, fd, from, size, to);
    from = size;
  }
  if (to > plan.from) await io.sync(fd);
  await io.truncate(fd, to);
  await io.sync(fd);
  await restoreTimes(io, fd, stat);
}

/** @returns the offset after the copy */
async function slide(io: SpoolIo, fd: number, start: number, end: number, to: number): Promise<number> {
  const buffer = Buffer.allocUnsafe(Math.min(SLIDE_CHUNK, end - start));
  let target = to;
  for (let position = start; position < end; ) {
    const chunk = buffer.subarray(0, Math.min(buffer.length, end - position));
    if ((await readFully(io, fd, chunk, position)) < chunk.length) {
      throw new Error('mailbox became shorter while it was rewritten');
    }
    await writeFully(io, fd, chunk, target);
    position += chunk.length;
    target += chunk.length;
  }
  return target;
}

/** Deleting is not news: biff(1) and mutt compare mtime with atime to tell new mail. */
async function restoreTimes(io: SpoolIo, fd: number, stat: FileStat): Promise<void> {
  try {
    await io.setTimes(fd, stat.atimeNs, stat.mtimeNs);
  } catch (error) {
    // Only the owner may (utimensat(2)); a shared service account does without.
    if (errnoOf(error) !== 'EPERM') throw error;
  }
}

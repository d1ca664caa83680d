/**
 * Which octets of a mailbox file survive an UPDATE: a plan, without doing any of it.
 *
 * Everything before the first deleted message stays where it is. After it, the kept ranges move down
 * in file order; each is a run of whole messages from From_ line to From_ line, so separators, CRLFs
 * and metadata stay as they are. What comes before the first From_ line and a FOLDER INTERNAL DATA
 * message belong to no message-number, so they are never in the way.
 */
import type { MailboxIndex } from './mailbox-index.js';

export interface Range {
  readonly start: number;
  readonly end: number;
}

export interface UpdatePlan {
  /** Offset of the first deleted octet: the file below it is not written. */
  readonly from: number;
  /** What is kept of the file after `from`, in file order, neighbours merged; up to `index.size`. */
  readonly kept: readonly Range[];
  /** `from` plus the octets of `kept`. */
  readonly newSize: number;
}

/** @returns undefined when no message is marked, so that nothing may be written */
export function planUpdate(index: MailboxIndex, marked: (n: number) => boolean): UpdatePlan | undefined {
  let from = -1;
  let newSize = 0;
  const kept: { start: number; end: number }[] = [];
  for (let n = 1; n <= index.messages; n++) {
    const { start, end } = index.extent(n);
    if (marked(n)) {
      if (from < 0) from = newSize = start;
    } else if (from >= 0) {
      const last = kept.at(-1);
      if (last?.end === start) last.end = end;
      else kept.push({ start, end });
      newSize += end - start;
    }
  }
  return from < 0 ? undefined : { from, kept, newSize };
}

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

/** Marked message-numbers: a Set of them, or a Map. */
export type Marked = Pick<ReadonlySet<number>, 'has' | 'keys' | 'size'>;

/** The lowest marked message-number; Infinity if there is none. */
export function firstMarked(marked: Marked): number {
  let first = Number.POSITIVE_INFINITY;
  for (const n of marked.keys()) if (n < first) first = n;
  return first;
}

/** @returns undefined when no message is marked, so that nothing may be written */
export function planUpdate(index: MailboxIndex, marked: Marked): UpdatePlan | undefined {
  if (marked.size === 0) return undefined;
  const first = firstMarked(marked);
  const from = index.start(first);
  let newSize = from;
  const kept: { start: number; end: number }[] = [];
  // Everything from the first one on is the commonest UPDATE, and need not be gone through.
  const goes = marked.size === index.messages - first + 1;
  for (let n = first + 1; !goes && n <= index.messages; n++) {
    if (marked.has(n)) continue;
    const [start, end] = [index.start(n), index.start(n + 1)];
    const last = kept.at(-1);
    if (last?.end === start) last.end = end;
    else kept.push({ start, end });
    newSize += end - start;
  }
  return { from, kept, newSize };
}

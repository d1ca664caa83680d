/**
 * An index put together from rows of others: what an append leaves of one, and what an UPDATE leaves of one.
 * The results are what a scan of the whole file would have found, provided that the rows are true.
 */
import { firstMarked, type Marked } from './compaction.js';
import { MailboxIndex, OFFSETS, octetsOf, SMALL } from './mailbox-index.js';

/** The columns of rows, as `MailboxIndex` has them. */
export type Columns = Pick<MailboxIndex, 'offsets' | 'small'>;

/**
 * The rows before `row`, then those of a scan that began at `at`, where that row starts.
 * @param row  at least 1: what a first message alone can be is known from the first index
 * @param into columns that hold the rows before `row`, and have room for the others
 */
export function joinRows(
  before: MailboxIndex,
  row: number,
  after: MailboxIndex,
  at: number,
  into: Columns = copyOf(before, row, row + after.small.length / SMALL),
): MailboxIndex {
  // First: they may be the same memory.
  const octets = before.totalOctets - octetsOf(before.offsets, row) + octetsOf(after.offsets, 0);
  const { offsets, small } = into;
  offsets.set(after.offsets, row * OFFSETS);
  for (let i = row * OFFSETS; i < offsets.length; i += OFFSETS) shift(offsets, i, at);
  small.set(after.small, row * SMALL);
  return new MailboxIndex(offsets, small, at + after.size, before.hidden, octets);
}

/** The rows before `row`, in columns of `rows`. */
function copyOf(index: MailboxIndex, row: number, rows: number): Columns {
  const offsets = new Float64Array(rows * OFFSETS);
  offsets.set(index.offsets.subarray(0, row * OFFSETS));
  const small = new Uint32Array(rows * SMALL);
  small.set(index.small.subarray(0, row * SMALL));
  return { offsets, small };
}

/** The index of the file once the marked messages are cut out of it. @param marked not empty */
export function withoutMarked(index: MailboxIndex, marked: Marked): MailboxIndex {
  const first = firstMarked(marked);
  const rows = index.small.length / SMALL - marked.size;
  let kept = first - 1 + index.hidden;
  const { offsets, small } = copyOf(index, kept, rows);
  let size = index.start(first);
  for (let n = first + 1; kept < rows; n++) {
    if (marked.has(n)) continue;
    const row = n - 1 + index.hidden;
    const start = index.start(n);
    offsets.set(index.offsets.subarray(row * OFFSETS, (row + 1) * OFFSETS), kept * OFFSETS);
    shift(offsets, kept * OFFSETS, size - start);
    small.set(index.small.subarray(row * SMALL, (row + 1) * SMALL), kept * SMALL);
    size += index.start(n + 1) - start;
    kept++;
  }
  return new MailboxIndex(offsets, small, size, index.hidden);
}

/** The first three columns are offsets in the file. */
function shift(offsets: Float64Array, i: number, by: number): void {
  offsets[i]! += by;
  offsets[i + 1]! += by;
  offsets[i + 2]! += by;
}

/**
 * An index from rows that were read back from a file, which may say anything. Invariant: its rows can be those of a
 * file of `size` octets: whole numbers, in order, none outside of it, and none on the wire that is longer than
 * line ends can make it. Not that they are true.
 */
import { MAX_FROM_LINE } from './from-line.js';
import type { Kernel } from './kernel/kernel.js';
import { MailboxIndex, OFFSETS, SMALL } from './mailbox-index.js';

/** Rows that the kernel looks at in one call: they fit into a slot of its memory. */
const BLOCK = 8192;

/** Octets of the shortest and of the longest From_ line, with its line end. */
const SHORTEST = 5;
const LONGEST = MAX_FROM_LINE + 2;

/** @returns undefined when the rows are not possible */
export function possibleIndex(
  offsets: Float64Array,
  small: Uint32Array,
  size: number,
  hidden: 0 | 1,
  kernel?: Kernel,
): MailboxIndex | undefined {
  const sum = kernel ? checkByKernel(kernel, offsets, small, size) : checkRows(offsets, small, size);
  if (sum < 0) return undefined;
  return new MailboxIndex(offsets, small, size, hidden, hidden === 0 ? sum : sum - offsets[3]!);
}

/** @returns the sum of the octets on the wire; -1 if one row is not possible */
function checkRows(offsets: Float64Array, small: Uint32Array, size: number): number {
  let after = 0;
  let sum = 0;
  for (let row = 0; row * SMALL < small.length; row++) {
    const i = row * OFFSETS;
    const start = offsets[i]!;
    const fromLine = small[row * SMALL]!;
    const header = start + fromLine;
    const body = offsets[i + 1]!;
    const contentEnd = offsets[i + 2]!;
    const octets = offsets[i + 3]!;
    const bodyOctets = offsets[i + 4]!;
    // Written so that NaN fails.
    const inOrder = start >= after && body >= header && contentEnd >= body && contentEnd <= size;
    // Every octet may be an LF that becomes two, and the last line may lack its end.
    const fits = bodyOctets >= 0 && octets >= bodyOctets && octets <= 2 * (contentEnd - header) + 2;
    const isLine = fromLine >= SHORTEST && fromLine <= LONGEST;
    if (!isLine || !inOrder || !fits || !areWhole(start, body, contentEnd, octets, bodyOctets)) return -1;
    sum += octets;
    after = contentEnd;
  }
  return sum;
}

function areWhole(a: number, b: number, c: number, d: number, e: number): boolean {
  return (
    Math.floor(a) === a &&
    Math.floor(b) === b &&
    Math.floor(c) === c &&
    Math.floor(d) === d &&
    Math.floor(e) === e
  );
}

/** The same, fast from the first call on: the first login of a day comes before anything is compiled well. */
function checkByKernel(kernel: Kernel, offsets: Float64Array, small: Uint32Array, size: number): number {
  const { buffer, shared } = kernel.memory;
  const blockOffsets = new Float64Array(buffer, shared.byteOffset, BLOCK * OFFSETS);
  const smallAt = shared.byteOffset + blockOffsets.byteLength;
  const blockSmall = new Uint32Array(buffer, smallAt, BLOCK * SMALL);
  let sum = 0;
  for (let row = 0; row * SMALL < small.length; row += BLOCK) {
    const end = row + BLOCK;
    blockOffsets.set(offsets.subarray(row * OFFSETS, end * OFFSETS));
    blockSmall.set(small.subarray(row * SMALL, end * SMALL));
    const rows = Math.min(BLOCK, small.length / SMALL - row);
    const after = row === 0 ? 0 : offsets[row * OFFSETS - OFFSETS + 2]!;
    const octets = kernel.exports.checkRows(shared.byteOffset, smallAt, rows, after, size);
    if (octets < 0) return -1;
    sum += octets;
  }
  return sum;
}

/**
 * What an UPDATE keeps of a mailbox file behind the first deleted octet, as a journal has it: the ranges as
 * octets, and which sectors of the file are not wholly in one of them. A sector that is can be told by the
 * octets kept; of the others, the journal has hashes.
 */
import type { Range } from '../mbox/compaction.js';
import { SECTOR } from './journal-format.js';

/** Lengths alternately skipped and kept, each as 7-bit groups, low ones first. */
export function encodeRanges(from: number, kept: readonly Range[]): Buffer {
  const octets: number[] = [];
  let end = from;
  for (const range of kept) {
    for (let value of [range.start - end, range.end - range.start]) {
      for (; value > 127; value = Math.floor(value / 128)) octets.push(128 + (value % 128));
      octets.push(value);
    }
    end = range.end;
  }
  return Buffer.from(octets);
}

/** The most octets that `encodeRanges` makes of any deletions in a mailbox of so many messages and octets. */
export function mostEncoded(messages: number, size: number): number {
  // Two lengths for each second message, and for one delivery; three octets for each below two MiB.
  const lengths = 2 * (Math.ceil(messages / 2) + 1);
  return 3 * lengths + Math.ceil(size / 2 ** 21);
}

/** @returns undefined when these are no ranges within [from, size) */
export function decodeRanges(from: number, size: number, octets: Uint8Array): Range[] | undefined {
  const lengths: number[] = [];
  let [value, factor] = [0, 1];
  for (const octet of octets) {
    value += (octet % 128) * factor;
    factor *= 128;
    if (octet > 127) continue;
    lengths.push(value);
    [value, factor] = [0, 1];
  }
  const ranges: Range[] = [];
  let end = from;
  for (let i = 0; i + 1 < lengths.length; i += 2) {
    const start = end + lengths[i]!;
    end = start + lengths[i + 1]!;
    ranges.push({ start, end });
  }
  return factor === 1 && lengths.length % 2 === 0 && end <= size ? ranges : undefined;
}

/** Octets of all ranges together. */
export function octetsKept(kept: readonly Range[]): number {
  return kept.reduce((sum, { start, end }) => sum + end - start, 0);
}

interface Run {
  readonly first: number;
  readonly last: number;
  /** Of `first` among all that are in a run. */
  readonly index: number;
}

/** The sectors of [from, oldSize), as far as they lie inside, that have an octet outside of the kept ranges. */
export class LostSectors {
  readonly count: number;
  readonly #runs: Run[] = [];
  /** The run that was asked for last: questions come in order. */
  #at = 0;

  constructor(from: number, oldSize: number, kept: readonly Range[]) {
    let [count, next, end] = [0, 0, from];
    for (const range of [...kept, { start: oldSize, end: oldSize }]) {
      const first = Math.max(next, Math.floor(end / SECTOR));
      const last = Math.ceil(range.start / SECTOR) - 1;
      if (range.start > end && last >= first) {
        this.#runs.push({ first, last, index: count });
        count += last - first + 1;
        next = last + 1;
      }
      end = range.end;
    }
    this.count = count;
  }

  /** Which of them a sector is, from 0 on; undefined when it is none. */
  indexOf(sector: number): number | undefined {
    const runs = this.#runs;
    if (this.#at > 0 && sector <= runs[this.#at - 1]!.last) this.#at = 0;
    while (this.#at < runs.length && runs[this.#at]!.last < sector) this.#at++;
    const run = runs[this.#at];
    return run === undefined || sector < run.first ? undefined : run.index + sector - run.first;
  }
}

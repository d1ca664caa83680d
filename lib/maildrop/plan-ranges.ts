/**
 * What a plan keeps, and the steps by which it is moved down (pure). The kept octets are seen as one stream
 * that will stand from `from` on: the kept ranges, and then whatever was appended behind the old end.
 */
import type { Range } from '../mbox/compaction.js';
import { SECTOR } from './journal-format.js';
import type { PlanHeader, Step } from './plan-format.js';
import { SECTOR_HASH } from './sector-hash.js';

/** Most octets that one step moves. */
const LONGEST_STEP = 16 * 1024 * 1024;
/** No file system clears more than this when a file is cut. Octets. */
const LARGEST_BLOCK = 64 * 1024;

/** Where a step works. */
export type Move = Pick<Step, 'kind' | 'at' | 'length'>;

export class KeptStream {
  /** Where each range will begin. */
  readonly #targets: number[] = [];
  readonly #end: number;

  constructor(
    private readonly header: Pick<PlanHeader, 'from' | 'oldSize' | 'layout'>,
    private readonly ranges: readonly Range[],
  ) {
    let target = header.from;
    for (const { start, end } of ranges) {
      this.#targets.push(target);
      target += end - start;
    }
    this.#end = target;
  }

  /** Octets of the mailbox file when everything up to `tail` is moved. */
  newSize(tail: number): number {
    return this.#end + tail - this.header.oldSize;
  }

  /** Where the octets that will stand in [at, at + length) stood at first. */
  sources(at: number, length: number): Range[] {
    const sources: Range[] = [];
    const end = at + length;
    for (let i = this.#rangeAt(at); at < end && i < this.ranges.length; i++) {
      const { start, end: stop } = this.ranges[i]!;
      const source = start + at - this.#targets[i]!;
      const taken = Math.min(stop - source, end - at);
      sources.push({ start: source, end: source + taken });
      at += taken;
    }
    if (at < end) {
      const start = this.header.oldSize + at - this.#end;
      sources.push({ start, end: start + end - at });
    }
    return sources;
  }

  /**
   * The step after everything below `at` is in place. Each but the last ends on a sector's boundary.
   * A copy is no longer than the way it goes down, so that it leaves its own source alone: it can be made
   * again from there. Where that way is short the octets are saved in the journal first.
   */
  moveAt(at: number, tail: number): Move {
    const end = this.newSize(tail);
    const { step } = this.header.layout;
    if (at === end) return { kind: 'clear', at, length: this.#clearedEnd(at, tail) - at };
    const way = this.sources(at, 1)[0]!.start - at;
    const kind = way >= step ? 'copy' : 'save';
    const stop = at + (kind === 'copy' ? Math.min(way, LONGEST_STEP) : step);
    return { kind, at, length: (stop >= end ? end : Math.floor(stop / SECTOR) * SECTOR) - at };
  }

  /** One past the last octet that will be written. */
  writtenEnd(tail: number): number {
    return this.#clearedEnd(this.newSize(tail), tail);
  }

  /** As far as cutting the file at `at` may clear it. */
  #clearedEnd(at: number, tail: number): number {
    const block = Math.ceil((at + 1) / LARGEST_BLOCK) * LARGEST_BLOCK;
    const sectors = Math.floor(this.header.layout.step / SECTOR_HASH) - 1;
    return Math.min(tail, block, (Math.floor(at / SECTOR) + sectors) * SECTOR);
  }

  /** The last range that begins, when moved, at or before `at`. */
  #rangeAt(at: number): number {
    let [low, high] = [0, this.#targets.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#targets[middle]! <= at) low = middle + 1;
      else high = middle;
    }
    // Past the end of the last range: in what was appended.
    return at >= this.#end ? this.ranges.length : low - 1;
  }
}

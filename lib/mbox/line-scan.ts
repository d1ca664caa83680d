/**
 * The lines of one message body after another as the scanner goes by: up to an empty line, since what comes after
 * it may be a From_ line. Not every empty line is one to stop at: what follows one that is passed by is no From_ line.
 */
import { CR, findLf, LF } from './bytes.js';
import type { Kernel } from './kernel/kernel.js';

/** Octets for which a call of the kernel pays. */
export const KERNEL_MIN = 160;

/** Octets that are gone through, and where they are. */
export interface Chunk {
  readonly octets: Buffer;
  /** Offset in the file of the first one. */
  readonly offset: number;
  /** Where that is in the kernel's memory; -1 when it is elsewhere. */
  readonly address: number;
  /** The octet before it. */
  readonly before: number;
}

export class LineScan {
  /** Offset in the file of the line at hand. */
  line = 0;
  /** Offset of the last empty line, which may turn out to be the separator. */
  empty = 0;
  /** LFs without CR since the body began. */
  bare = 0;
  /** Whether `push` stopped after an empty line. */
  isAfterEmpty = false;

  constructor(private readonly kernel: Kernel | undefined) {}

  /**
   * Begins another body.
   * @param at        its offset in the file
   * @param emptyLine octets of the empty line before it, which may be the separator, too
   */
  open(at: number, emptyLine: number): void {
    this.line = at;
    this.empty = at - emptyLine;
    this.bare = 0;
  }

  /**
   * Goes on from `at`, in or at the start of a line that follows no empty line.
   * @returns where it stopped: after an empty line, which is where `line` then is, or at the end of the chunk
   */
  push(chunk: Chunk, at: number): number {
    const { octets, address } = chunk;
    if (address < 0 || octets.length - at < KERNEL_MIN) return this.#pushLines(chunk, at);
    const next = this.#pushFast(this.kernel!, chunk, at);
    return this.isAfterEmpty ? next : this.#pushLines(chunk, next);
  }

  /** Up to a line that may be a From_ line, or nearly to the end of the chunk. */
  #pushFast({ exports, results }: Kernel, { octets, offset, address, before }: Chunk, at: number): number {
    const line = this.line - offset;
    const octet = (i: number) => (i >= 0 ? octets[i]! : before);
    const twoBefore = octet(at - 1) + (line === at - 1 ? LF << 8 : 0);
    const next = exports.scanBody(address + at, address + octets.length, twoBefore) - address;
    this.bare += results[0]!;
    this.isAfterEmpty = false;
    const lf = octets.lastIndexOf(LF, next - 1);
    if (lf < at) return next;
    this.line = offset + lf + 1;
    if (lf + 1 < next) return next;
    const startsLine = (i: number) => i === line || (i > at && octets[i - 1] === LF);
    const empty = startsLine(lf) ? lf : octet(lf - 1) === CR && startsLine(lf - 1) ? lf - 1 : undefined;
    if (empty === undefined) return next;
    this.empty = offset + empty;
    this.isAfterEmpty = true;
    return next;
  }

  /** Up to and with the next empty line. */
  #pushLines({ octets, offset, before }: Chunk, at: number): number {
    let line = this.line - offset;
    let bare = 0;
    let lf = findLf(octets, at);
    for (; lf >= 0; lf = findLf(octets, lf + 1)) {
      const isBare = (lf > 0 ? octets[lf - 1] : before) !== CR;
      if (isBare) bare++;
      if (lf - line === (isBare ? 0 : 1)) break;
      line = lf + 1;
    }
    this.bare += bare;
    this.isAfterEmpty = lf >= 0;
    if (lf >= 0) this.empty = offset + line;
    this.line = offset + (lf >= 0 ? lf + 1 : line);
    return lf >= 0 ? lf + 1 : octets.length;
  }
}

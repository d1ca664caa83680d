/**
 * From the octets of a mailbox file, pushed in any cutting, to its index. Invariants:
 * the index depends on the octets alone, never on where the chunks were cut; memory grows with the
 * number of messages only, as no line is ever held beyond the length of a From_ line.
 *
 * A message begins at a From_ line at the start of the file or after an empty line, and nowhere else:
 * Content-Length never decides, since it comes with the mail and may lie. Empty lines before the first
 * From_ line belong to no message; the one empty line before any other From_ line, or at the end of the
 * file, separates and belongs to no message either, even if it would have ended the header.
 */
import { crc32 } from 'node:zlib';
import { asBuffer, CR, findLf, LF } from './bytes.js';
import { isFromLine, MAX_FROM_LINE } from './from-line.js';
import { HeaderScan } from './header-scan.js';
import type { Kernel } from './kernel/kernel.js';
import { IndexBuilder, type MailboxIndex } from './mailbox-index.js';

/** The first line that is not empty is no From_ line: this is no mailbox file. */
export class NotMbox extends Error {
  override readonly name = 'NotMbox';
  constructor(
    /** Octets before the offending line. */
    readonly offset: number,
  ) {
    super(`not a mailbox file: no From_ line at offset ${offset}`);
  }
}

/** `boundary`: at the start of a line after an empty line, or before the first message. */
type State = 'boundary' | 'header' | 'body';

const NEWLINE = Buffer.of(LF);

/** Octets of a body for which a call of the kernel pays. */
const KERNEL_MIN = 160;

/** Longest line with its line end that can be a From_ line. */
const MAX_HELD = MAX_FROM_LINE + 2;

export class Scanner {
  readonly #index = new IndexBuilder();
  #state: State = 'boundary';
  /** Where the chunk at hand is in the kernel's memory; -1 when it is elsewhere. */
  #address = -1;
  /** Offset in the file of the chunk at hand. */
  #offset = 0;
  /** Offset in the file of the line at hand. */
  #line = 0;
  /** The last octet of the chunk before. */
  #last = LF;
  /** The beginning of a line that may be a From_ line, cut by the end of a chunk. */
  readonly #held = Buffer.alloc(MAX_HELD);
  #heldLength = 0;

  // The message at hand; #start is -1 before the first.
  #start = -1;
  #header = 0;
  #body = 0;
  /** LFs without CR since #body. */
  #bare = 0;
  /** Offset of the last empty line, which may turn out to be the separator. */
  #empty = 0;
  #fromCrc = 0;
  #hidden: 0 | 1 = 0;
  readonly #headerScan = new HeaderScan();
  /** Size of the file once it is known; octets from there on are not in it. */
  #size = Number.POSITIVE_INFINITY;

  /** @param kernel goes through those octets that are pushed from its memory */
  constructor(private readonly kernel?: Kernel) {}

  /** Takes the next octets. Throws NotMbox. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const chunk = asBuffer(bytes);
    this.#address = this.kernel?.addressOf(chunk) ?? -1;
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === 'body') at = this.#scanBody(chunk, at);
      else if (this.#state === 'header') at = this.#scanHeader(chunk, at);
      else at = this.#scanBoundary(chunk, at);
    }
    this.#offset += chunk.length;
    this.#last = chunk[chunk.length - 1]!;
  }

  /** The octets pushed are the whole file. Throws NotMbox. */
  end(): MailboxIndex {
    const size = this.#offset;
    this.#size = size;
    this.#headerScan.limit(size);
    // A last line without LF is read as if it had one; the offsets are cut back to the file.
    if (this.#last !== LF) this.push(NEWLINE);
    if (this.#start >= 0) this.#close(this.#offset, this.#state === 'boundary');
    return this.#index.finish(size, this.#hidden);
  }

  /** Whole messages, as long as they are of the usual form; then one line after an empty line. */
  #scanBoundary(chunk: Buffer, at: number): number {
    if (this.#address >= 0 && this.#heldLength === 0 && this.#start >= 0 && chunk.length - at >= KERNEL_MIN) {
      const next = this.#scanMessages(this.kernel!, chunk, at);
      if (next > at) return next;
    }
    return this.#scanLine(chunk, at);
  }

  /** All messages from `at` on that are whole, if one begins there. @returns where the next begins, or `at` */
  #scanMessages({ exports, results, rows, mostRows }: Kernel, chunk: Buffer, at: number): number {
    const address = this.#address;
    const count = exports.scanMessages(address + at, address + chunk.length, mostRows);
    if (count === 0) return at;
    this.#close(this.#line, true);
    this.#index.addRows(rows, count, this.#line);
    // What comes next is a From_ line, which closes nothing.
    this.#start = -1;
    const next = results[0]! - address;
    this.#line = this.#offset + next;
    return next;
  }

  /** One line after an empty line. */
  #scanLine(chunk: Buffer, at: number): number {
    const lf = findLf(chunk, at);
    if (this.#heldLength === 0 && lf >= 0) {
      this.#endLine(chunk, at, lf);
      return lf + 1;
    }
    const stop = Math.min(lf < 0 ? chunk.length : lf + 1, at + MAX_HELD - this.#heldLength);
    this.#heldLength += chunk.copy(this.#held, this.#heldLength, at, stop);
    if (lf >= 0 && stop === lf + 1) {
      const length = this.#heldLength;
      this.#heldLength = 0;
      this.#endLine(this.#held, 0, length - 1);
    } else if (this.#heldLength === MAX_HELD) {
      this.#heldLength = 0;
      if (this.#start < 0) throw new NotMbox(this.#line);
      this.#state = 'body';
    }
    return stop;
  }

  /** Decides about a complete line after an empty line: From_ line, empty line or body. */
  #endLine(bytes: Buffer, start: number, lf: number): void {
    const next = this.#line + (lf + 1 - start);
    const bare = lf === start || bytes[lf - 1] !== CR;
    if (lf - start === (bare ? 0 : 1)) {
      this.#empty = this.#line;
    } else if (isFromLine(bytes, start, lf)) {
      if (this.#start >= 0) this.#close(this.#line, true);
      this.#open(next, this.#crc(bytes, start, lf + 1 - Math.max(0, next - this.#size)));
    } else {
      if (this.#start < 0) throw new NotMbox(this.#line);
      this.#state = 'body';
    }
    if (bare) this.#bare++;
    this.#line = next;
  }

  #crc(bytes: Buffer, start: number, end: number): number {
    if (this.#address < 0 || bytes === this.#held) return crc32(bytes.subarray(start, end));
    return this.kernel!.exports.crc32(this.#address + start, this.#address + end, 0) >>> 0;
  }

  #open(header: number, fromCrc: number): void {
    this.#start = this.#line;
    this.#header = header;
    this.#body = Number.POSITIVE_INFINITY;
    this.#fromCrc = fromCrc;
    this.#headerScan.open(header, fromCrc);
    this.#state = 'header';
  }

  #scanHeader(chunk: Buffer, at: number): number {
    const next = this.#pushHeader(chunk, at);
    if (!this.#headerScan.done) return next;
    this.#body = this.#line = this.#offset + next;
    this.#empty = this.#body - this.#headerScan.emptyLine;
    this.#bare = 0;
    this.#state = 'boundary';
    return next;
  }

  #pushHeader(chunk: Buffer, at: number): number {
    const address = this.#address;
    if (address >= 0 && this.#offset + at === this.#header) {
      const next = this.#headerScan.pushWhole(this.kernel!, address + at, address + chunk.length);
      if (next > 0) return next - address;
    }
    return this.#headerScan.push(chunk, at);
  }

  /** Lines up to an empty one, not always the next: what begins after one that is passed by is no From_ line. */
  #scanBody(chunk: Buffer, at: number): number {
    if (this.#address < 0 || chunk.length - at < KERNEL_MIN) return this.#scanLines(chunk, at);
    const next = this.#scanFast(this.kernel!, chunk, this.#address, at);
    return this.#state === 'boundary' ? next : this.#scanLines(chunk, next);
  }

  /** Up to a line that may be a From_ line, or nearly to the end of the chunk. */
  #scanFast(kernel: Kernel, chunk: Buffer, address: number, at: number): number {
    const line = this.#line - this.#offset;
    const octet = (i: number) => (i >= 0 ? chunk[i]! : this.#last);
    const before = octet(at - 1) + (line === at - 1 ? LF << 8 : 0);
    const next = kernel.exports.scanBody(address + at, address + chunk.length, before) - address;
    this.#bare += kernel.results[0]!;
    const lf = chunk.lastIndexOf(LF, next - 1);
    if (lf < at) return next;
    this.#line = this.#offset + lf + 1;
    if (lf + 1 < next) return next;
    const startsLine = (i: number) => i === line || (i > at && chunk[i - 1] === LF);
    const empty = startsLine(lf) ? lf : octet(lf - 1) === CR && startsLine(lf - 1) ? lf - 1 : undefined;
    if (empty !== undefined) {
      this.#empty = this.#offset + empty;
      this.#state = 'boundary';
    }
    return next;
  }

  /** Lines up to and with the next empty one. */
  #scanLines(chunk: Buffer, at: number): number {
    let line = this.#line - this.#offset;
    let bare = 0;
    let next = chunk.length;
    for (let lf = findLf(chunk, at); lf >= 0; lf = findLf(chunk, lf + 1)) {
      const isBare = (lf > 0 ? chunk[lf - 1] : this.#last) !== CR;
      if (isBare) bare++;
      if (lf - line === (isBare ? 0 : 1)) {
        this.#empty = this.#offset + line;
        this.#state = 'boundary';
        next = lf + 1;
        line = next;
        break;
      }
      line = lf + 1;
    }
    this.#bare += bare;
    this.#line = this.#offset + line;
    return next;
  }

  /**
   * The message at hand is complete.
   * @param at        offset of the next From_ line, or the end
   * @param separated whether the line before `at` is empty
   */
  #close(at: number, separated: boolean): void {
    const contentEnd = separated ? this.#empty : at;
    const hasBody = this.#body <= contentEnd;
    // The separator takes two octets on the wire, whichever line end it has.
    const bodyOctets = hasBody ? at - this.#body + this.#bare - (separated ? 2 : 0) : 0;
    const separatorWasHeaderEnd = !hasBody && this.#body !== Number.POSITIVE_INFINITY;
    const { octets, crc, crcBeforeEmpty } = this.#headerScan;
    const inFile = (offset: number) => Math.min(offset, this.#size);
    this.#index.add({
      start: this.#start,
      header: inFile(this.#header),
      body: inFile(hasBody ? this.#body : contentEnd),
      contentEnd: inFile(contentEnd),
      octets: octets + (hasBody ? 2 + bodyOctets : 0),
      bodyOctets,
      fromCrc: this.#fromCrc,
      headerCrc: separatorWasHeaderEnd ? crcBeforeEmpty : crc,
    });
    if (this.#headerScan.takeFolderData()) this.#hidden = 1;
  }
}

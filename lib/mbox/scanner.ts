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
import { CutLine } from './cut-line.js';
import { isFromLine } from './from-line.js';
import { HeaderScan } from './header-scan.js';
import type { Kernel } from './kernel/kernel.js';
import { type Chunk, KERNEL_MIN, LineScan } from './line-scan.js';
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

export class Scanner {
  readonly #index = new IndexBuilder();
  #state: State = 'boundary';
  /** How many steps this call may still take. */
  #left = 0;
  /** Octets taken by earlier calls, and the last of them. */
  #offset = 0;
  #last = LF;
  readonly #lines: LineScan;
  /** The line after an empty one, if the chunk before ended in it. */
  readonly #cut = new CutLine();

  // The message at hand; #start is -1 before the first.
  #start = -1;
  #header = 0;
  #body = 0;
  #fromCrc = 0;
  #hidden: 0 | 1 = 0;
  readonly #headerScan = new HeaderScan();
  /** Size of the file once it is known; octets from there on are not in it. */
  #size = Number.POSITIVE_INFINITY;

  /** @param kernel goes through those octets that are pushed from its memory */
  constructor(private readonly kernel?: Kernel) {
    this.#lines = new LineScan(kernel);
  }

  /**
   * Takes the next octets.
   * @param most after about so many messages, or empty lines in them, it is enough
   * @returns how many octets were taken: all, or those up to there
   * @throws NotMbox
   */
  push(bytes: Uint8Array, most = Number.POSITIVE_INFINITY): number {
    if (bytes.length === 0) return 0;
    const octets = asBuffer(bytes);
    const address = this.kernel?.addressOf(octets) ?? -1;
    const chunk = { octets, offset: this.#offset, address, before: this.#last };
    this.#left = most;
    let at = 0;
    while (at < octets.length && this.#left-- > 0) {
      if (this.#state === 'body') at = this.#scanBody(chunk, at);
      else if (this.#state === 'header') at = this.#scanHeader(chunk, at);
      else at = this.#scanBoundary(chunk, at);
    }
    this.#offset += at;
    this.#last = octets[at - 1]!;
    return at;
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
  #scanBoundary(chunk: Chunk, at: number): number {
    const usual = this.#cut.isEmpty && this.#start >= 0 && chunk.octets.length - at >= KERNEL_MIN;
    return this.#scanLine(
      chunk,
      usual && chunk.address >= 0 ? this.#scanMessages(this.kernel!, chunk, at) : at,
    );
  }

  /** All messages from `at` on that are whole, if one begins there. @returns where the next begins, or `at` */
  #scanMessages(kernel: Kernel, { octets, offset, address }: Chunk, at: number): number {
    const { exports, results, mostRows } = kernel;
    const lines = this.#lines;
    let next = at;
    let count: number;
    do {
      count = exports.scanMessages(address + next, address + octets.length, mostRows, lines.line);
      if (count === 0) break;
      if (this.#start >= 0) this.#close(lines.line, true);
      this.#index.addRows(kernel.offsets, kernel.small, count);
      // What comes next is a From_ line, which closes nothing.
      this.#start = -1;
      next = results[0]! - address;
      lines.line = offset + next;
      this.#left -= count;
    } while (count === mostRows && this.#left > 0);
    return next;
  }

  /** One line after an empty line. */
  #scanLine(chunk: Chunk, at: number): number {
    const { octets, address } = chunk;
    const lf = findLf(octets, at);
    if (this.#cut.isEmpty && lf >= 0) {
      this.#endLine(octets, at, lf, address);
      return lf + 1;
    }
    const stop = this.#cut.add(octets, at, lf);
    const line = this.#cut.take();
    if (line === 'no From_ line') this.#passLine();
    else if (line !== undefined) this.#endLine(line, 0, line.length - 1, -1);
    return stop;
  }

  /** The line at hand is none that ends a message. */
  #passLine(): void {
    if (this.#start < 0) throw new NotMbox(this.#lines.line);
    this.#state = 'body';
  }

  /** Decides about a complete line after an empty line: From_ line, empty line or body. */
  #endLine(octets: Buffer, start: number, lf: number, address: number): void {
    const lines = this.#lines;
    const next = lines.line + (lf + 1 - start);
    const bare = lf === start || octets[lf - 1] !== CR;
    if (lf - start === (bare ? 0 : 1)) {
      lines.empty = lines.line;
    } else if (isFromLine(octets, start, lf)) {
      if (this.#start >= 0) this.#close(lines.line, true);
      this.#open(next, this.#crc(octets, start, lf + 1 - Math.max(0, next - this.#size), address));
    } else this.#passLine();
    if (bare) lines.bare++;
    lines.line = next;
  }

  #crc(octets: Buffer, start: number, end: number, address: number): number {
    if (address < 0) return crc32(octets.subarray(start, end));
    return this.kernel!.exports.crc32(address + start, address + end, 0) >>> 0;
  }

  #open(header: number, fromCrc: number): void {
    this.#start = this.#lines.line;
    this.#header = header;
    this.#body = Number.POSITIVE_INFINITY;
    this.#fromCrc = fromCrc;
    this.#headerScan.open(header, fromCrc);
    this.#state = 'header';
  }

  #scanHeader(chunk: Chunk, at: number): number {
    const next = this.#pushHeader(chunk, at);
    if (!this.#headerScan.done) return next;
    this.#body = chunk.offset + next;
    this.#lines.open(this.#body, this.#headerScan.emptyLine);
    this.#state = 'boundary';
    return next;
  }

  #pushHeader({ octets, offset, address }: Chunk, at: number): number {
    if (address >= 0 && offset + at === this.#header) {
      const next = this.#headerScan.pushWhole(this.kernel!, address + at, address + octets.length);
      if (next > 0) return next - address;
    }
    return this.#headerScan.push(octets, at);
  }

  #scanBody(chunk: Chunk, at: number): number {
    const next = this.#lines.push(chunk, at);
    if (this.#lines.isAfterEmpty) this.#state = 'boundary';
    return next;
  }

  /**
   * The message at hand is complete.
   * @param at        offset of the next From_ line, or the end
   * @param separated whether the line before `at` is empty
   */
  #close(at: number, separated: boolean): void {
    const contentEnd = separated ? this.#lines.empty : at;
    const hasBody = this.#body <= contentEnd;
    // The separator takes two octets on the wire, whichever line end it has.
    const bodyOctets = hasBody ? at - this.#body + this.#lines.bare - (separated ? 2 : 0) : 0;
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

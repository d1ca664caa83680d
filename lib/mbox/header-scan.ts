/**
 * The header of one message after another as the scanner goes by: the octets that RETR sends of it, its
 * checksum, and whether it is that of a FOLDER INTERNAL DATA message.
 */
import { crc32 } from 'node:zlib';
import { CR, countBareLf, LF } from './bytes.js';
import { HeaderFilter } from './header-filter.js';
import type { Kernel } from './kernel/kernel.js';
import { FolderDataDetector, METADATA_FIELDS } from './metadata.js';

const NOTHING = Buffer.alloc(0);
const NEWLINE = Buffer.of(LF);
const CRLF = Buffer.of(CR, LF);

export class HeaderScan {
  /** Octets RETR sends of it, without the empty line. */
  octets = 0;
  /** CRC-32 of the From_ line and the header, with the empty line if there is one... */
  crc = 0;
  /** ...and without it. */
  crcBeforeEmpty = 0;

  readonly #filter = new HeaderFilter(METADATA_FIELDS, (...span) => this.#add(...span));
  /** The empty line was pushed. */
  done = false;
  /** Octets of that empty line in the file. */
  emptyLine = 0;
  #last = LF;
  /** Spans that come next in the checksum. */
  #pending: { bytes: Buffer; start: number; end: number } = { bytes: NOTHING, start: 0, end: 0 };
  /** Offset of the octet that comes next in the checksum, and the size of the file. */
  #crcAt = 0;
  #size = Number.POSITIVE_INFINITY;
  /** Looks at the first header only. */
  #detector: FolderDataDetector | undefined = new FolderDataDetector();

  /** Whether it is that of folder internal data; asked once for each message, at its end. */
  takeFolderData(): boolean {
    const found = this.#detector?.found ?? false;
    this.#detector = undefined;
    return found;
  }

  /**
   * Begins another header.
   * @param offset  of its first octet in the file
   * @param fromCrc CRC-32 of its From_ line
   */
  open(offset: number, fromCrc: number): void {
    this.done = false;
    this.octets = 0;
    this.crc = fromCrc;
    this.crcBeforeEmpty = fromCrc;
    this.#crcAt = offset;
    this.#last = LF;
    this.#filter.reset();
  }

  /** The file ends at this offset: octets pushed beyond it are not in the checksum. */
  limit(size: number): void {
    this.#size = size;
  }

  /** @returns where it stopped: after the empty line, or at the end of the chunk */
  push(chunk: Buffer, at: number): number {
    const next = this.#filter.push(chunk, at);
    this.#addPending();
    if (this.#filter.done) {
      this.done = true;
      this.emptyLine = this.#filter.emptyLine;
      this.crcBeforeEmpty = this.crc;
      this.#addToCrc(this.emptyLine === 1 ? NEWLINE : CRLF);
    }
    return next;
  }

  /**
   * The whole header at once, of which nothing was pushed so far.
   * @param start address of its first octet in the kernel's memory
   * @param end   where the chunk ends there
   * @returns where the body begins; 0 for one that must be pushed: it is not whole, or the first of the file
   */
  pushWhole({ exports, results }: Kernel, start: number, end: number): number {
    if (this.#detector !== undefined) return 0;
    const body = exports.scanHeader(start, end, this.crc);
    if (body === 0) return 0;
    this.done = true;
    this.octets = results[0]!;
    this.crcBeforeEmpty = results[1]!;
    this.crc = results[2]!;
    this.emptyLine = results[3]!;
    return body;
  }

  #add(bytes: Buffer, start: number, end: number, hidden: boolean): void {
    const pending = this.#pending;
    // One call for all spans of a chunk: calls are dear, and kinds of lines may alternate.
    if (pending.bytes === bytes && pending.end === start) {
      pending.end = end;
    } else {
      this.#addPending();
      this.#pending = { bytes, start, end };
    }
    this.#detector?.push(bytes, start, end);
    if (!hidden) this.octets += end - start + countBareLf(bytes, start, end, this.#last);
    this.#last = bytes[end - 1]!;
  }

  #addPending(): void {
    const { bytes, start, end } = this.#pending;
    if (end > start) this.#addToCrc(bytes.subarray(start, end));
    this.#pending = { bytes: NOTHING, start: 0, end: 0 };
  }

  #addToCrc(bytes: Buffer): void {
    const inFile = Math.min(bytes.length, this.#size - this.#crcAt);
    this.crc = crc32(bytes.subarray(0, inFile), this.crc);
    this.#crcAt += bytes.length;
  }
}

/**
 * The wire form of a message: what RETR and TOP send, before byte-stuffing (RFC 1939 §3, which is the
 * protocol's business). Every line ends in CRLF, metadata fields are gone, a missing final newline is
 * there. A CR that is not before LF, a NUL and any other octet go through as they are.
 *
 * Invariant: all octets for a message are as many as its index says, for every cutting into chunks.
 */
import { asBuffer, CR, findLf, LF } from './bytes.js';
import { HeaderFilter } from './header-filter.js';
import type { Kernel } from './kernel/kernel.js';
import { encodeLines, encodeLinesBy } from './line-ends.js';
import { METADATA_FIELDS } from './metadata.js';

const NEWLINE = Buffer.of(LF);

/** What may come besides the octets of a call: the start of a header line held from an earlier one. */
const HELD = METADATA_FIELDS.longest + 4;

export class WireForm {
  /** Whether a line begins with a dot in what the last call gave. */
  dots = false;

  readonly #filter = new HeaderFilter(METADATA_FIELDS, (bytes, start, end, hidden) => {
    if (!hidden) this.#append(bytes, start, end);
    this.#last = bytes[end - 1]!;
  });
  /** Lines of the body still to be sent. */
  #lines: number;
  #last = LF;
  #done = false;
  #into: Buffer = NEWLINE;
  #length = 0;

  readonly #kernel: Kernel | undefined;

  /**
   * @param options.bodyLines for TOP: how many lines of the body are wanted (RFC 1939 §7)
   * @param options.kernel    goes through the octets, if there is one
   */
  constructor(options: { bodyLines?: number; kernel?: Kernel | undefined } = {}) {
    this.#kernel = options.kernel;
    this.#lines = options.bodyLines ?? Number.POSITIVE_INFINITY;
  }

  /** How many octets can be encoded into `room` octets, whatever they are. */
  static fitting(room: number): number {
    return Math.max(0, Math.floor((room - HELD) / 2));
  }

  /** The octets that `room` needs beyond those of a whole message, to hold that. */
  static readonly slack = 2 * HELD;

  /** Whether TOP has all it wants: no call will produce anything more. */
  get done(): boolean {
    return this.#done;
  }

  /**
   * Encodes the next octets of [header, contentEnd) of an extent; some may come with a later call.
   * @param bytes at most `fitting(into.length)`, unless all of the message is known to fit
   * @returns how many octets were put into `into`: more than it has when they did not fit
   */
  encode(bytes: Uint8Array, into: Buffer): number {
    this.dots = false;
    if (this.#done || bytes.length === 0) return 0;
    const chunk = asBuffer(bytes);
    this.#into = into;
    this.#length = 0;
    const body = this.#filter.done ? 0 : this.#encodeHeader(chunk);
    if (this.#filter.done) this.#append(chunk, body, this.#cut(chunk, body));
    this.#last = chunk[chunk.length - 1]!;
    this.#into = NEWLINE;
    return this.#length;
  }

  /** The last octets, when everything was encoded: a few. Call it once. */
  finish(into: Buffer): number {
    // The file may end without LF; the scanner counts octets as if it did not.
    this.dots = false;
    return this.#last === LF ? 0 : this.encode(NEWLINE, into);
  }

  #encodeHeader(chunk: Buffer): number {
    const next = this.#filter.push(chunk);
    if (this.#filter.done) {
      this.#into[this.#length++] = CR;
      this.#into[this.#length++] = LF;
      this.#last = LF;
      if (this.#lines === 0) this.#done = true;
    }
    return next;
  }

  /** Where TOP stops in a chunk of the body, or the end of the chunk. */
  #cut(chunk: Buffer, start: number): number {
    if (this.#lines === Number.POSITIVE_INFINITY) return chunk.length;
    let end = start;
    while (this.#lines > 0) {
      const lf = findLf(chunk, end);
      if (lf < 0) return chunk.length;
      end = lf + 1;
      this.#lines--;
    }
    this.#done = true;
    return end;
  }

  #append(bytes: Buffer, start: number, end: number): void {
    if (start === end) return;
    const from = bytes.subarray(start, end);
    const { length, dots } = this.#kernel
      ? encodeLinesBy(this.#kernel, from, this.#last, this.#into, this.#length)
      : encodeLines(from, this.#last, this.#into, this.#length);
    this.#length += length;
    this.dots ||= dots;
  }
}

/**
 * The wire form of a message: what RETR and TOP send, before byte-stuffing (RFC 1939 §3, which is the
 * protocol's business). Every line ends in CRLF, metadata fields are gone, a missing final newline is
 * there. A CR that is not before LF, a NUL and any other octet go through as they are.
 *
 * Invariant: all octets for a message are as many as its index says, for every cutting into chunks.
 */
import { asBuffer, CR, countBareLf, findLf, LF } from './bytes.js';
import { HeaderFilter } from './header-filter.js';
import { METADATA_FIELDS } from './metadata.js';

const NOTHING = new Uint8Array(0);
const NEWLINE = Buffer.of(LF);

export class WireForm {
  readonly #filter = new HeaderFilter(METADATA_FIELDS, (bytes, start, end, hidden) => {
    if (!hidden) this.#append(bytes, start, end);
    this.#last = bytes[end - 1]!;
  });
  /** Lines of the body still to be sent. */
  #lines: number;
  #last = LF;
  #done = false;
  #out = Buffer.alloc(0);
  #length = 0;

  /** @param options.bodyLines for TOP: how many lines of the body are wanted (RFC 1939 §7) */
  constructor(options: { bodyLines?: number } = {}) {
    this.#lines = options.bodyLines ?? Number.POSITIVE_INFINITY;
  }

  /** Whether TOP has all it wants: no call will produce anything more. */
  get done(): boolean {
    return this.#done;
  }

  /**
   * The wire form of the next octets of [header, contentEnd) of an extent. The result is the caller's;
   * it may be empty, and some octets may come with a later call.
   */
  encode(bytes: Uint8Array): Uint8Array {
    if (this.#done || bytes.length === 0) return NOTHING;
    const chunk = asBuffer(bytes);
    // Room for the start of a header line held from the chunk before, and for its CR.
    const room = chunk.length + METADATA_FIELDS.longest + 3;
    this.#out = Buffer.allocUnsafe(room + countBareLf(chunk, 0, chunk.length, this.#last));
    this.#length = 0;
    const body = this.#filter.done ? 0 : this.#encodeHeader(chunk);
    if (this.#filter.done) this.#append(chunk, body, this.#cut(chunk, body));
    this.#last = chunk[chunk.length - 1]!;
    return this.#out.subarray(0, this.#length);
  }

  /** The last octets, when everything was encoded. Call it once. */
  finish(): Uint8Array {
    // The file may end without LF; the scanner counts octets as if it did not.
    return this.#last === LF ? NOTHING : this.encode(NEWLINE);
  }

  #encodeHeader(chunk: Buffer): number {
    const next = this.#filter.push(chunk);
    if (this.#filter.done) {
      this.#out[this.#length++] = CR;
      this.#out[this.#length++] = LF;
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

  /** Copies [start, end) with its LFs as CRLF. */
  #append(bytes: Buffer, start: number, end: number): void {
    let from = start;
    for (let lf = findLf(bytes, start); lf >= 0 && lf < end; lf = findLf(bytes, lf + 1)) {
      if ((lf > start ? bytes[lf - 1] : this.#last) === CR) continue;
      this.#copy(bytes, from, lf);
      this.#out[this.#length++] = CR;
      from = lf;
    }
    this.#copy(bytes, from, end);
  }

  #copy(bytes: Buffer, start: number, end: number): void {
    // For a short line the call costs more than the copy.
    if (end - start >= 24) {
      this.#length += bytes.copy(this.#out, this.#length, start, end);
    } else {
      for (let i = start; i < end; i++) this.#out[this.#length++] = bytes[i]!;
    }
  }
}

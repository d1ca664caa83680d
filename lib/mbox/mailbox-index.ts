/**
 * What the scanner found: where each message lies in the mailbox file, and what it takes on the wire.
 * 52 octets a message, whatever the size of the message. Offsets are doubles in octets from the start
 * of the file, exact up to 2^53: never use 32-bit operators on them.
 *
 * A FOLDER INTERNAL DATA message has a row here, but no message-number: the functions that take a
 * message-number never answer for it, so it can be neither served nor marked.
 */

/** One message. All but `octets` and `bodyOctets` are about the file as it is. */
export interface Extent {
  /** Offset of the From_ line. */
  readonly start: number;
  /** Offset of the first octet after the From_ line: what RETR sends begins here. */
  readonly header: number;
  /** Offset of the first octet of the body, after the empty line; `contentEnd` if there is none. */
  readonly body: number;
  /** Offset after the last octet of the message. The one empty line that may follow is separator. */
  readonly contentEnd: number;
  /** Offset of the next From_ line, or the size of the file. */
  readonly end: number;
  /** Octets RETR sends: every line end as CRLF, metadata fields hidden, not byte-stuffed. */
  readonly octets: number;
  /** The part of `octets` after the empty line that ends the header. Independent of line ends in the file. */
  readonly bodyOctets: number;
  /** CRC-32 of [start, header). */
  readonly fromCrc: number;
  /** CRC-32 of [start, body). */
  readonly headerCrc: number;
}

/** Columns of a row in `offsets`: start, body, contentEnd, octets, bodyOctets. */
export const OFFSETS = 5;
/** Columns of a row in `small`: octets of the From_ line, fromCrc, headerCrc. */
export const SMALL = 3;

/** The sum of the octets on the wire of all rows from `row` on. */
export function octetsOf(offsets: Float64Array, row: number): number {
  let sum = 0;
  for (let at = row * OFFSETS + 3; at < offsets.length; at += OFFSETS) sum += offsets[at]!;
  return sum;
}

/** Rows of an index while it is being made. */
export class IndexBuilder {
  #rows = 0;
  #offsets = new Float64Array(16 * OFFSETS);
  #small = new Uint32Array(16 * SMALL);

  /** Adds a message; `end` is not kept, as it is where the next one starts. */
  add(e: Omit<Extent, 'end'>): void {
    if ((this.#rows + 1) * OFFSETS > this.#offsets.length) this.#grow();
    const [offsets, small] = [this.#offsets, this.#small];
    let at = this.#rows * OFFSETS;
    offsets[at++] = e.start;
    offsets[at++] = e.body;
    offsets[at++] = e.contentEnd;
    offsets[at++] = e.octets;
    offsets[at] = e.bodyOctets;
    at = this.#rows * SMALL;
    small[at++] = e.header - e.start;
    small[at++] = e.fromCrc;
    small[at] = e.headerCrc;
    this.#rows++;
  }

  /** Adds messages that a kernel found: the first `count` rows of its tables. */
  addRows(offsets: Float64Array, small: Uint32Array, count: number): void {
    while ((this.#rows + count) * OFFSETS > this.#offsets.length) this.#grow();
    this.#offsets.set(offsets.subarray(0, count * OFFSETS), this.#rows * OFFSETS);
    this.#small.set(small.subarray(0, count * SMALL), this.#rows * SMALL);
    this.#rows += count;
  }

  /**
   * The finished index.
   * @param size   octets of the file
   * @param hidden how many rows at the front are a FOLDER INTERNAL DATA message (0 or 1)
   */
  finish(size: number, hidden: 0 | 1): MailboxIndex {
    return new MailboxIndex(
      this.#offsets.slice(0, this.#rows * OFFSETS),
      this.#small.slice(0, this.#rows * SMALL),
      size,
      hidden,
    );
  }

  #grow(): void {
    const offsets = new Float64Array(this.#offsets.length * 2);
    offsets.set(this.#offsets);
    this.#offsets = offsets;
    const small = new Uint32Array(this.#small.length * 2);
    small.set(this.#small);
    this.#small = small;
  }
}

export class MailboxIndex {
  /** Messages that have a message-number, 1 to `messages`. */
  readonly messages: number;

  constructor(
    readonly offsets: Float64Array,
    readonly small: Uint32Array,
    /** Octets of the file that was scanned. */
    readonly size: number,
    /** 1 when the file begins with a FOLDER INTERNAL DATA message, which has no message-number. */
    readonly hidden: 0 | 1,
    /** The sum of `octets(n)` over all messages, as STAT says it when none is marked. */
    readonly totalOctets: number = octetsOf(offsets, hidden),
  ) {
    this.messages = offsets.length / OFFSETS - hidden;
  }

  /** The octets RETR sends for message `n`. Throws RangeError for a number that is none. */
  octets(n: number): number {
    return this.offsets[this.#row(n) * OFFSETS + 3]!;
  }

  /** The part of that after the header. */
  bodyOctets(n: number): number {
    return this.offsets[this.#row(n) * OFFSETS + 4]!;
  }

  /** Where message `n` starts; for the number after the last one, the size of the file. */
  start(n: number): number {
    return n === this.messages + 1 ? this.size : this.offsets[this.#row(n) * OFFSETS]!;
  }

  /** Where message `n` is. Throws RangeError for a number that is none. */
  extent(n: number): Extent {
    const row = this.#row(n);
    const offset = row * OFFSETS;
    const small = row * SMALL;
    const start = this.offsets[offset]!;
    return {
      start,
      header: start + this.small[small]!,
      body: this.offsets[offset + 1]!,
      contentEnd: this.offsets[offset + 2]!,
      end: this.offsets[offset + OFFSETS] ?? this.size,
      octets: this.offsets[offset + 3]!,
      bodyOctets: this.offsets[offset + 4]!,
      fromCrc: this.small[small + 1]!,
      headerCrc: this.small[small + 2]!,
    };
  }

  #row(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > this.messages) throw new RangeError(`no message ${n}`);
    // Whose memory was given on says nothing any more.
    if (this.offsets.length === 0) throw new Error('the index was given back');
    return n - 1 + this.hidden;
  }
}

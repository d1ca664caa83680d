/**
 * Tells the hidden fields of a header from the visible ones while it streams by, in any cutting. Holds
 * at most as many octets as the longest hidden field name, and never a line; every octet comes out once.
 *
 * A field is a name directly before a colon (RFC 5322 §2.2), in any case, with its continuation lines.
 */
import { asBuffer, CR, findLf, LF } from './bytes.js';

const COLON = 0x3a;

/** ASCII letters in lower case, everything else as it is. */
const LOWER = Uint8Array.from({ length: 256 }, (_, octet) =>
  octet >= 0x41 && octet <= 0x5a ? octet + 0x20 : octet,
);

/** Of a line of a header. `same` as the line before; `undecided` when more of it must be seen. */
export type Verdict = 'hidden' | 'visible' | 'same' | 'empty' | 'undecided';

/** A set of field names, compared without case, and without making a string of each line of a header. */
export class FieldNames {
  /** By first octet, in lower case. */
  readonly #names: Uint8Array[][] = Array.from({ length: 256 }, () => []);
  /** Octets of the longest name. */
  readonly longest: number;

  constructor(names: readonly string[]) {
    this.longest = Math.max(...names.map(name => name.length));
    for (const name of names) {
      const octets = Buffer.from(name.toLowerCase(), 'latin1');
      this.#names[octets[0]!]!.push(octets);
    }
  }

  mayBegin(octet: number): boolean {
    return this.#names[LOWER[octet]!]!.length > 0;
  }

  /** Whether [start, end) is one of the names. */
  has(bytes: Buffer, start: number, end: number): boolean {
    return this.#names[LOWER[bytes[start]!]!]!.some(name => {
      if (name.length !== end - start) return false;
      for (let i = 1; i < name.length; i++) {
        if (LOWER[bytes[start + i]!] !== name[i]) return false;
      }
      return true;
    });
  }

  /** What kind of line begins at `start`, as far as the octets up to `end` tell. */
  judge(bytes: Buffer, start: number, end: number): Verdict {
    const first = bytes[start]!;
    if (first === LF) return 'empty';
    if (first === CR) {
      if (start + 1 === end) return 'undecided';
      return bytes[start + 1] === LF ? 'empty' : 'visible';
    }
    // A continuation line shares the fate of its field (RFC 5322 §2.2.3).
    if (first === 0x20 || first === 0x09) return 'same';
    if (!this.mayBegin(first)) return 'visible';
    const limit = start + this.longest + 1;
    for (let i = start + 1; i < limit; i++) {
      if (i === end) return 'undecided';
      if (bytes[i] === COLON) return this.has(bytes, start, i) ? 'hidden' : 'visible';
      if (bytes[i] === LF) return 'visible';
    }
    return 'visible';
  }
}

/** Takes [start, end) of `bytes`: whole lines or parts of lines of one kind. Valid until push returns. */
export type SpanSink = (bytes: Buffer, start: number, end: number, hidden: boolean) => void;

/**
 * Splits a header, pushed in any cutting, into spans of hidden and of visible lines. Every octet comes
 * out once and in order, apart from the empty line that ends the header, and from a prefix of the last
 * line if it is shorter than a field name and its LF was never pushed.
 */
export class HeaderFilter {
  /** The empty line was pushed; nothing more is taken. */
  done = false;
  /** Octets of that empty line: 1, or 2 with CR. */
  emptyLine = 0;

  readonly #held: Buffer;
  #heldLength = 0;
  #midLine = false;
  #hiding = false;

  constructor(
    private readonly fields: FieldNames,
    private readonly sink: SpanSink,
  ) {
    this.#held = Buffer.alloc(fields.longest + 1);
  }

  /** For the header of another message. */
  reset(): void {
    this.done = false;
    this.emptyLine = 0;
    this.#heldLength = 0;
    this.#midLine = false;
    this.#hiding = false;
  }

  /** @returns where it stopped: after the empty line, or at the end of the chunk */
  push(bytes: Uint8Array, at = 0): number {
    const chunk = asBuffer(bytes);
    let next = this.#heldLength > 0 ? this.#resumeLine(chunk, at) : at;
    let run = next;
    while (next < chunk.length && !this.done) {
      if (this.#midLine) {
        const lf = findLf(chunk, next);
        this.#midLine = lf < 0;
        next = lf < 0 ? chunk.length : lf + 1;
        continue;
      }
      const verdict = this.fields.judge(chunk, next, chunk.length);
      const turns = (verdict === 'hidden' && !this.#hiding) || (verdict === 'visible' && this.#hiding);
      if (turns || verdict === 'empty' || verdict === 'undecided') {
        if (next > run) this.sink(chunk, run, next, this.#hiding);
        run = next;
      }
      if (turns) this.#hiding = !this.#hiding;
      if (verdict === 'empty') {
        this.#finish(chunk[next] === CR ? 2 : 1);
        return next + this.emptyLine;
      }
      if (verdict === 'undecided') {
        this.#heldLength = chunk.copy(this.#held, 0, next);
        return chunk.length;
      }
      this.#midLine = true;
    }
    if (next > run) this.sink(chunk, run, next, this.#hiding);
    return next;
  }

  /** Goes on with a line whose first octets were the last ones of an earlier chunk. */
  #resumeLine(chunk: Buffer, at: number): number {
    let next = at;
    while (next < chunk.length) {
      this.#held[this.#heldLength++] = chunk[next++]!;
      const verdict = this.fields.judge(this.#held, 0, this.#heldLength);
      if (verdict === 'undecided') continue;
      const length = this.#heldLength;
      this.#heldLength = 0;
      if (verdict === 'empty') {
        this.#finish(length);
      } else {
        if (verdict !== 'same') this.#hiding = verdict === 'hidden';
        this.#midLine = this.#held[length - 1] !== LF;
        this.sink(Buffer.from(this.#held.subarray(0, length)), 0, length, this.#hiding);
      }
      break;
    }
    return next;
  }

  #finish(emptyLine: number): void {
    this.done = true;
    this.emptyLine = emptyLine;
  }
}

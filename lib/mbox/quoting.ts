/**
 * A message on its way into a mailbox file, pushed in any cutting: what it must become so that it is one
 * message there, and nothing in it is taken for the beginning of another.
 *
 * A first line that is a From_ line is the envelope of whoever had it before: it is taken off, and its
 * sender kept. Line ends: where the first line ends with CRLF, the message came in network form and CRLF
 * becomes LF; else a CR is an octet like any other, as it is for Postfix and procmail. Either way what
 * RETR sends of it is what came. Then each line `From ...`, in header and body, gets a `>` in front
 * (mboxo; what all agents do), and by mboxrd each line `>...>From ...` too, which can be undone.
 *
 * Invariant: the octets that come out depend on those that went in alone, never on where they were cut;
 * what is held in between is bounded by the length of a From_ line.
 */
import { asBuffer, CR, findLf, LF } from './bytes.js';
import { isFromLine, MAX_FROM_LINE, senderOfFromLine } from './from-line.js';

export const QUOTINGS = ['mboxo', 'mboxrd'] as const;
export type Quoting = (typeof QUOTINGS)[number];

const FROM_ = Buffer.from('From ');
const QUOTE = Buffer.from('>');
const ONE_CR = Buffer.of(CR);
const NOTHING = Buffer.alloc(0);
const MAX_HELD = MAX_FROM_LINE + 2;
const GREATER_THAN = 0x3e;

export class MessageEncoder {
  /** As the From_ line that came with the message has it; undefined when there was none. */
  envelopeSender: string | undefined;
  /** The beginning of the first line; undefined once it is known what that is. */
  #first: Buffer | undefined = Buffer.alloc(0);
  readonly #lineEnds = new LineEnds();
  readonly #quoter: Quoter;
  #last: number | undefined;

  constructor(quoting: Quoting) {
    this.#quoter = new Quoter(quoting);
  }

  /** @returns what is ready of it; pieces may share memory with `octets` */
  push(octets: Uint8Array): Buffer[] {
    if (octets.length === 0) return [];
    const chunk = asBuffer(octets);
    return this.#first === undefined ? this.#encode(chunk) : this.#beginning(this.#first, chunk);
  }

  /** The rest: the end of the last line if it had none, and the empty line that separates messages. */
  end(): Buffer[] {
    const first = this.#first;
    this.#first = undefined;
    const rest = [
      ...(first === undefined ? [] : this.#withoutEnvelope(first)),
      ...this.#remember(this.#quoter.push(this.#lineEnds.end())),
      ...this.#remember(this.#quoter.end()),
    ];
    // Nothing at all, or nothing but an envelope, is no message.
    if (this.#last === undefined) return [];
    return [...rest, Buffer.from(this.#last === LF ? '\n' : '\n\n')];
  }

  #beginning(before: Buffer, chunk: Buffer): Buffer[] {
    const held = Buffer.concat([before, chunk.subarray(0, MAX_HELD - before.length)]);
    const rest = chunk.subarray(held.length - before.length);
    if (findLf(held, 0) < 0 && held.length < MAX_HELD) {
      this.#first = held;
      return [];
    }
    this.#first = undefined;
    return [...this.#withoutEnvelope(held), ...this.#encode(rest)];
  }

  #withoutEnvelope(held: Buffer): Buffer[] {
    const lf = findLf(held, 0);
    const end = lf < 0 ? held.length : lf;
    if (!isFromLine(held, 0, end)) return this.#encode(held);
    this.envelopeSender = senderOfFromLine(held.toString('utf8', 0, end));
    return this.#encode(held.subarray(lf < 0 ? held.length : lf + 1));
  }

  #encode(chunk: Buffer): Buffer[] {
    return this.#remember(this.#quoter.push(this.#lineEnds.push(chunk)));
  }

  #remember(pieces: Buffer[]): Buffer[] {
    this.#last = pieces.at(-1)?.at(-1) ?? this.#last;
    return pieces;
  }
}

/** CRLF to LF, if that is how the first line ends. A CRLF after a CR stays: the CR before it would be lost. */
class LineEnds {
  #are: 'unknown' | 'crlf' | 'lf' = 'unknown';
  /** Whether a CR at the end of the last chunk is not out yet... */
  #heldCr = false;
  /** ...and the octet before what comes next. */
  #before = LF;

  push(chunk: Buffer): Buffer {
    let octets = this.#heldCr ? Buffer.concat([ONE_CR, chunk]) : chunk;
    this.#heldCr = false;
    if (this.#are === 'unknown') {
      const lf = findLf(octets, 0);
      if (lf >= 0) this.#are = (lf > 0 ? octets[lf - 1] : this.#before) === CR ? 'crlf' : 'lf';
    }
    if (this.#are === 'lf') return octets;
    if (octets.at(-1) === CR) {
      this.#heldCr = true;
      octets = octets.subarray(0, -1);
    }
    const converted = this.#are === 'crlf' ? this.#convert(octets) : octets;
    this.#before = octets.at(-1) ?? this.#before;
    return converted;
  }

  end(): Buffer {
    return this.#heldCr ? ONE_CR : NOTHING;
  }

  #convert(octets: Buffer): Buffer {
    const out = Buffer.allocUnsafe(octets.length);
    let length = 0;
    let at = 0;
    for (let cr = octets.indexOf(CR); cr >= 0; cr = octets.indexOf(CR, cr + 1)) {
      const before = cr > 0 ? octets[cr - 1] : this.#before;
      if (octets[cr + 1] !== LF || before === CR) continue;
      length += octets.copy(out, length, at, cr);
      at = cr + 1;
    }
    length += octets.copy(out, length, at);
    return out.subarray(0, length);
  }
}

/** Puts a `>` before each line that would be taken for a From_ line. */
class Quoter {
  /** Whether what comes next begins a line, or for mboxrd follows nothing but `>` in it. */
  #atStart = true;
  /** Octets of `From ` at the end of the last chunk that are not out yet. */
  #held = 0;

  constructor(private readonly quoting: Quoting) {}

  push(chunk: Buffer): Buffer[] {
    const octets = this.#held > 0 ? Buffer.concat([FROM_.subarray(0, this.#held), chunk]) : chunk;
    this.#held = 0;
    const pieces: Buffer[] = [];
    let out = 0;
    for (let at = 0; ; ) {
      if (!this.#atStart) {
        const lf = findLf(octets, at);
        if (lf < 0) break;
        at = lf + 1;
        this.#atStart = true;
      }
      // The `>` to be added may as well stand behind those that are there.
      if (this.quoting === 'mboxrd') while (octets[at] === GREATER_THAN) at++;
      const seen = Math.min(FROM_.length, octets.length - at);
      if (FROM_.compare(octets, at, at + seen, 0, seen) === 0) {
        if (seen < FROM_.length) {
          this.#held = seen;
          break;
        }
        pieces.push(octets.subarray(out, at), QUOTE);
        out = at;
      }
      this.#atStart = false;
    }
    pieces.push(octets.subarray(out, octets.length - this.#held));
    return pieces.filter(piece => piece.length > 0);
  }

  end(): Buffer[] {
    const held = FROM_.subarray(0, this.#held);
    this.#held = 0;
    return held.length > 0 ? [held] : [];
  }
}

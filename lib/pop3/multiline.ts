/**
 * The wire form of a multi-line reply's content: byte-stuffed, then the terminator. RFC 1939 §3.
 *
 * Invariant: the terminator is only made after exactly the octets that were promised, ending in CRLF.
 * Anything else throws before it, so that a broken message can never look like a complete one.
 * Content in which no line begins with a dot stays where its maildrop put it.
 */
import type { MessageReader } from './ports.js';

const DOT = 0x2e;
const LF = 0x0a;
const CR = 0x0d;

/** RFC 1939 §3: the termination octet and a CRLF. */
export const TERMINATOR = Buffer.from('.\r\n', 'latin1');

/** Less room than this is not worth a call. */
export const LEAST_ROOM = 2048;

/** Of a buffer, what content may fill: a line is a dot and CRLF at least, and becomes four octets. */
const BEFORE_STUFFING = 3 / 4;

/** The content was not what its maildrop promised: a bug, or a mailbox that changed under us. */
export class BrokenContent extends Error {
  override readonly name = 'BrokenContent';
}

/** Byte-stuffs a stream of octets cut anywhere; the one thing carried is whether a line just began. */
export class DotStuffer {
  private atLineStart = true;

  /**
   * Puts a dot before each dot that begins a line, in place.
   * @param buffer the next `length` octets of the stream, and room for a third as many behind them
   * @param dots   whether any line in them can begin with a dot
   * @returns how many octets they have become
   */
  stuff(buffer: Buffer, length: number, dots: boolean): number {
    if (length === 0) return 0;
    const found = dots ? this.find(buffer.subarray(0, length)) : [];
    this.atLineStart = buffer[length - 1] === LF;
    let end = length;
    // From the end, so that every octet moves once.
    for (let more = found.length; more > 0; more--) {
      const dot = found[more - 1] ?? 0;
      buffer.copyWithin(dot + more, dot, end);
      buffer[dot + more - 1] = DOT;
      end = dot;
    }
    return length + found.length;
  }

  private find(octets: Buffer): number[] {
    const found: number[] = [];
    if (this.atLineStart && octets[0] === DOT) found.push(0);
    for (let at = octets.indexOf('\n.'); at >= 0; at = octets.indexOf('\n.', at + 2)) found.push(at + 1);
    return found;
  }
}

/** What follows the status line, terminator included, put piece by piece into the caller's memory. */
export class Multiline {
  /** Octets of the content so far, before byte-stuffing. */
  octets = 0;
  /** Whether all was given, terminator included. */
  done = false;
  private readonly stuffer = new DotStuffer();
  private last = CR;
  private beforeLast = CR;

  /**
   * @param content  the message with CRLF line ends
   * @param promised how many octets it must have; unchecked when undefined (TOP)
   */
  constructor(
    private readonly content: MessageReader,
    private readonly promised?: number,
  ) {}

  /**
   * Puts the next octets into `into`, until that is nearly full or `done`.
   * @param into at least `LEAST_ROOM` long
   * @returns how many octets; a promise where the mailbox has to be waited for
   * @throws BrokenContent, before the terminator; and whatever `content` throws
   */
  read(into: Buffer): number | Promise<number> {
    let used = 0;
    while (!this.done && into.length - used >= LEAST_ROOM) {
      const room = into.subarray(used);
      const given = this.content.read(room.subarray(0, room.length * BEFORE_STUFFING));
      if (typeof given !== 'number') return given.then(count => used + this.take(room, count));
      used += this.take(room, given);
    }
    return used;
  }

  private take(room: Buffer, given: number): number {
    if (given === 0) return this.terminate(room);
    this.octets += given;
    if (this.promised !== undefined && this.octets > this.promised) {
      throw new BrokenContent(`more than the ${this.promised} octets promised`);
    }
    this.beforeLast = given > 1 ? (room[given - 2] ?? 0) : this.last;
    this.last = room[given - 1] ?? 0;
    return this.stuffer.stuff(room, given, this.content.dots);
  }

  private terminate(room: Buffer): number {
    if (this.promised !== undefined && this.octets !== this.promised) {
      throw new BrokenContent(`${this.octets} octets instead of the ${this.promised} promised`);
    }
    if (this.octets > 0 && (this.last !== LF || this.beforeLast !== CR)) {
      throw new BrokenContent('no CRLF at the end');
    }
    this.done = true;
    return TERMINATOR.copy(room);
  }
}

/**
 * What follows the status line of RETR and TOP: the content, byte-stuffed by whoever reads it, then the terminator.
 * RFC 1939 §3.
 *
 * Invariant: the terminator is only made after exactly the octets that were promised, ending in CRLF.
 * Anything else throws before it, so that a broken message can never look like a complete one.
 * Content stays where its maildrop put it.
 */
import type { MessageReader } from './ports.js';

const LF = 0x0a;
const CR = 0x0d;

/** RFC 1939 §3: the termination octet and a CRLF. */
export const TERMINATOR = Buffer.from('.\r\n', 'latin1');

/** Less room than this is not worth a call. */
export const LEAST_ROOM = 2048;

/** The content was not what its maildrop promised: a bug, or a mailbox that changed under us. */
export class BrokenContent extends Error {
  override readonly name = 'BrokenContent';
}

/** Content and terminator, put piece by piece into the caller's memory. */
export class Multiline {
  /** Whether all was given, terminator included. */
  done = false;
  private last = LF;
  private beforeLast = CR;

  /**
   * @param content  the message with CRLF line ends
   * @param promised how many octets it must have; unchecked when undefined (TOP)
   */
  constructor(
    private readonly content: MessageReader,
    private readonly promised?: number,
  ) {}

  /** Octets of the content so far, without byte-stuffing. */
  get octets(): number {
    return this.content.octets;
  }

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
      const given = this.content.read(room);
      if (typeof given !== 'number') return given.then(count => used + this.take(room, count));
      used += this.take(room, given);
    }
    return used;
  }

  private take(room: Buffer, given: number): number {
    if (given === 0) return this.terminate(room);
    if (this.promised !== undefined && this.octets > this.promised) {
      throw new BrokenContent(`more than the ${this.promised} octets promised`);
    }
    this.beforeLast = given > 1 ? (room[given - 2] ?? 0) : this.last;
    this.last = room[given - 1] ?? 0;
    return given;
  }

  private terminate(room: Buffer): number {
    if (this.promised !== undefined && this.octets !== this.promised) {
      throw new BrokenContent(`${this.octets} octets instead of the ${this.promised} promised`);
    }
    if (this.last !== LF || this.beforeLast !== CR) throw new BrokenContent('no CRLF at the end');
    this.done = true;
    return TERMINATOR.copy(room);
  }
}

/**
 * The scan listings of LIST and UIDL (RFC 1939 §5, §7), written straight into what is sent: a maildrop may
 * have a hundred thousand messages, and each is a line.
 *
 * Invariant: the terminator comes after the line of the last message, and after nothing else.
 */
import { TERMINATOR } from './multiline.js';

const SP = 0x20;
const CR = 0x0d;
const LF = 0x0a;
const ZERO = 0x30;

/** What a line takes beside a text: two numbers, as many spaces, and CRLF. */
const LINE = 40;

/** What is told of message `n`; undefined when nothing is, as it is marked. ASCII. */
export type Told = (n: number) => number | string | undefined;

export class ScanListing {
  /** Whether all was given, terminator included. */
  done = false;
  private next = 1;

  constructor(
    private readonly messages: number,
    private readonly told: Told,
  ) {}

  /**
   * Puts the next lines into `into`, as many as fit.
   * @param into long enough for a line
   * @returns how many octets
   */
  read(into: Buffer): number {
    let at = 0;
    for (; this.next <= this.messages; this.next++) {
      const told = this.told(this.next);
      if (told === undefined) continue;
      const text = typeof told === 'string' ? told.length : 0;
      if (into.length - at < LINE + text) return at;
      at = putNumber(this.next, into, at);
      into[at++] = SP;
      at = typeof told === 'string' ? putText(told, into, at) : putNumber(told, into, at);
      into[at++] = CR;
      into[at++] = LF;
    }
    if (into.length - at < TERMINATOR.length) return at;
    this.done = true;
    return at + TERMINATOR.copy(into, at);
  }
}

/** @param value an integer, 0 to 2^53. @returns where it ends */
function putNumber(value: number, into: Buffer, at: number): number {
  let end = at + 1;
  for (let left = value; left >= 10; left = Math.floor(left / 10)) end++;
  let left = value;
  for (let to = end - 1; to >= at; to--) {
    into[to] = ZERO + (left % 10);
    left = Math.floor(left / 10);
  }
  return end;
}

/** For a short text a call of `write` costs more than its octets. @returns where it ends */
function putText(text: string, into: Buffer, at: number): number {
  for (let i = 0; i < text.length; i++) into[at + i] = text.charCodeAt(i);
  return at + text.length;
}

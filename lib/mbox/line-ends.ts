/**
 * Lines of a file as they leave, the inner loop of every RETR: LF → CRLF, and byte-stuffed. A CR that is directly
 * before an LF belongs to that line end; any other octet goes through as it is. The kernel's twin, which says what is
 * right: `kernel/assembly/encode-lines.ts`, `cut-lines.ts`.
 */
import { CR, findLf, LF } from './bytes.js';

const DOT = 0x2e;

export interface Encoded {
  /** Octets read. */
  taken: number;
  /** Octets put into the target. */
  given: number;
  /** How many of them are dots put before dots. */
  stuffed: number;
}

/** Given again and again: good until the next call. */
const encoded: Encoded = { taken: 0, given: 0, stuffed: 0 };

/**
 * Encodes [start, end) of `from` into `into`, from `at` on, for as long as two octets have room.
 * @param before the octet before `start`, LF at the start of a message
 */
export function encodeLines(
  from: Buffer,
  start: number,
  end: number,
  before: number,
  into: Buffer,
  at: number,
): Readonly<Encoded> {
  let next = start;
  let to = at;
  let previous = before;
  encoded.stuffed = 0;
  for (;;) {
    // So many have room even if each becomes two, and need not ask.
    const stop = Math.min(end, next + ((into.length - to) >> 1));
    if (next >= stop) break;
    for (; next < stop; next++) {
      const octet = from[next]!;
      if (octet === LF) {
        if (previous !== CR) into[to++] = CR;
      } else if (octet === DOT && previous === LF) {
        // RFC 1939 §3: byte-stuffing.
        into[to++] = DOT;
        encoded.stuffed++;
      }
      into[to++] = octet;
      previous = octet;
    }
  }
  encoded.taken = next - start;
  encoded.given = to - at;
  return encoded;
}

/** @returns what follows the `lines`-th line from `start` on; `end` when it does not end before */
export function afterLines(from: Buffer, start: number, end: number, lines: number): number {
  let at = start;
  for (let left = lines; left > 0; left--) {
    const lf = findLf(from, at);
    if (lf < 0 || lf >= end) return end;
    at = lf + 1;
  }
  return at;
}

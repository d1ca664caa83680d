/**
 * LF → CRLF, the inner loop of every RETR. A CR that is directly before an LF belongs to that line end; any
 * other octet goes through as it is. On the way it is seen whether a line begins with a dot, so that
 * whoever byte-stuffs need not go through the octets again.
 */
import { CR, LF } from './bytes.js';

const DOT = 0x2e;

export interface Encoded {
  /** Octets put into the target: more than it takes when they did not fit. */
  length: number;
  /** Whether a line begins with a dot. */
  dots: boolean;
}

/** Given again and again: good until the next call. */
const encoded: Encoded = { length: 0, dots: false };

/**
 * Encodes `from` into `into`, from `at` on; at most twice as many octets.
 * @param before the octet before `from`, LF at the start of a message
 */
export function encodeLines(from: Buffer, before: number, into: Buffer, at: number): Readonly<Encoded> {
  let to = at;
  let previous = before;
  let dots = false;
  for (let i = 0; i < from.length; i++) {
    const octet = from[i]!;
    if (octet === LF) {
      if (previous !== CR) into[to++] = CR;
    } else if (octet === DOT && previous === LF) dots = true;
    into[to++] = octet;
    previous = octet;
  }
  encoded.length = to - at;
  encoded.dots = dots;
  return encoded;
}

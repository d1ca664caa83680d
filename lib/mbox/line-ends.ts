/**
 * LF → CRLF, the inner loop of every RETR. A CR that is directly before an LF belongs to that line end; any
 * other octet goes through as it is. On the way it is seen whether a line begins with a dot, so that
 * whoever byte-stuffs need not go through the octets again.
 */
import { CR, LF } from './bytes.js';
import type { Kernel } from './kernel/kernel.js';

const DOT = 0x2e;

/** Octets for which a call of the kernel pays, with the copies there and back. */
const WORTH_IT = 128;

/** Octets before what the kernel encodes; the last of them is the one before. */
const LEAD = 16;

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

/** The same by the kernel, where that is faster. */
export function encodeLinesBy(
  kernel: Kernel,
  from: Buffer,
  before: number,
  into: Buffer,
  at: number,
): Readonly<Encoded> {
  const { shared } = kernel.memory;
  // In the shared slot are the lead, the octets, and what becomes of them with room for 16 more.
  const most = Math.floor((shared.length - LEAD - 16) / 3);
  if (from.length < WORTH_IT) return encodeLines(from, before, into, at);
  let to = at;
  let dots = false;
  for (let done = 0; done < from.length; done += most) {
    const part = from.subarray(done, done + most);
    const target = LEAD + part.length;
    shared[LEAD - 1] = done === 0 ? before : from[done - 1]!;
    shared.set(part, LEAD);
    const { byteOffset } = shared;
    const length = kernel.exports.encodeLines(byteOffset + LEAD, byteOffset + target, byteOffset + target);
    if (kernel.results[0] === 1) dots = true;
    // Copies what there is room for.
    shared.copy(into, Math.min(to, into.length), target, target + length);
    to += length;
  }
  encoded.length = to - at;
  encoded.dots = dots;
  return encoded;
}

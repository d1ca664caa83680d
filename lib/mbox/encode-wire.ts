/**
 * A message as it leaves, from anywhere in it on: metadata fields hidden, cut where TOP wants it, its lines
 * encoded, all in one copy from where it was read to where it is sent from. Here is the twin, which says what is
 * right and runs where there is no kernel; and how the kernel is called.
 *
 * Invariant: both take and give the same octets, and leave the same state, whatever comes in and however it is cut.
 */
import { CR, findLf, LF } from './bytes.js';
import type { Kernel } from './kernel/kernel.js';
import { afterLines, encodeLines } from './line-ends.js';
import { METADATA_FIELDS } from './metadata.js';

/** Where in a message the next call goes on. */
export interface WireState {
  /** The octet before in the file; LF at the start of the message. */
  last: number;
  /** Whether the line of the header at hand is not sent. */
  hiding: boolean;
  inBody: boolean;
  /** The last call stopped at a line of the header, of which more must be seen. */
  undecided: boolean;
  /** Lines of the body that are still wanted; Infinity for all. */
  lines: number;
  /** Octets that the last call has read. */
  taken: number;
  /** How many dots it has put before dots. */
  stuffed: number;
}

/** The start of a message. @param lines how many lines of the body are wanted */
export function startOfMessage(lines: number): WireState {
  return { last: LF, hiding: false, inBody: false, undecided: false, lines, taken: 0, stuffed: 0 };
}

/**
 * Encodes what `from` has from `start` on into `into`, from `at` on, as far as there is room.
 * @returns how many octets were put; `state`
 */
export function encodeWire(state: WireState, from: Buffer, start: number, into: Buffer, at: number): number {
  const end = from.length;
  let next = start;
  let to = at;
  state.stuffed = 0;
  state.undecided = false;
  /** Up to `stop`. @returns whether that had room */
  const encode = (stop: number): boolean => {
    const { taken, given, stuffed } = encodeLines(from, next, stop, state.last, into, to);
    next += taken;
    to += given;
    state.stuffed += stuffed;
    return next === stop;
  };
  for (let goes = true; goes && !state.inBody && next < end; ) {
    if (state.last === LF) {
      const verdict = METADATA_FIELDS.judge(from, next, end);
      state.undecided = verdict === 'undecided';
      if (state.undecided || (verdict === 'empty' && to + 2 > into.length)) break;
      if (verdict !== 'same') state.hiding = verdict === 'hidden';
      if (verdict === 'empty') {
        into[to++] = CR;
        into[to++] = LF;
        next += from[next] === CR ? 2 : 1;
        state.inBody = true;
        break;
      }
    }
    const begin = next;
    const lf = findLf(from, next);
    const stop = lf < 0 ? end : lf + 1;
    if (state.hiding) next = stop;
    else goes = encode(stop);
    if (next > begin) state.last = from[next - 1]!;
  }
  if (state.inBody && next < end) {
    const begin = next;
    const all = state.lines === Number.POSITIVE_INFINITY;
    encode(all ? end : afterLines(from, next, end, state.lines));
    if (next > begin) state.last = from[next - 1]!;
    if (!all) {
      for (let i = begin; i < next; i++) if (from[i] === LF) state.lines--;
    }
  }
  state.taken = next - start;
  return to - at;
}

/** Octets for which a call of the kernel pays; measured (`npm run bench:kernels`). */
const WORTH_A_CALL = 20;
/** The same with copies there and back. */
const WORTH_COPIES = 56;

/** Bits of the state as the kernel has it, above the octet before. */
const HIDING = 0x100;
const IN_BODY = 0x200;
const UNDECIDED = 0x400;

/** What the kernel takes for all lines, and counts to at most. */
const ALL = 0xffffffff;

/** The same by the kernel, where that is faster. Octets that are not in its memory are copied there, and back. */
export function encodeWireBy(
  kernel: Kernel,
  state: WireState,
  from: Buffer,
  start: number,
  into: Buffer,
  at: number,
): number {
  const source = kernel.addressOf(from);
  const target = kernel.addressOf(into);
  const least = source >= 0 && target >= 0 ? WORTH_A_CALL : WORTH_COPIES;
  if (from.length - start < least) return encodeWire(state, from, start, into, at);
  if (source >= 0 && target >= 0) {
    return call(kernel, state, source + start, source + from.length, target + at, target + into.length);
  }
  const { shared } = kernel.memory;
  // A quarter of it for the octets, and the rest for what becomes of them.
  const most = Math.floor(shared.length / 4);
  let next = start;
  let to = at;
  let stuffed = 0;
  for (let goes = true; goes; ) {
    const stop = Math.min(from.length, next + most);
    if (source < 0) from.copy(shared, 0, next, stop);
    const address = source < 0 ? shared.byteOffset : source + next;
    const place = target < 0 ? shared.byteOffset + most : target + to;
    const room = target < 0 ? Math.min(into.length - to, 3 * most) : into.length - to;
    const given = call(kernel, state, address, address + stop - next, place, place + room);
    if (target < 0) shared.copy(into, to, most, most + given);
    next += state.taken;
    // What could not be decided within one part is decided with the next.
    goes = (next === stop || state.undecided) && stop < from.length;
    to += given;
    stuffed += state.stuffed;
  }
  state.taken = next - start;
  state.stuffed = stuffed;
  return to - at;
}

function call(
  { exports, results }: Kernel,
  state: WireState,
  start: number,
  end: number,
  into: number,
  limit: number,
): number {
  const bits = state.last | (state.hiding ? HIDING : 0) | (state.inBody ? IN_BODY : 0);
  const lines = Math.min(state.lines, ALL - 1);
  const all = state.lines === Number.POSITIVE_INFINITY;
  const to = exports.encodeWire(start, end, into, limit, bits, all ? ALL : lines);
  const after = results[1]!;
  state.last = after & 0xff;
  state.hiding = (after & HIDING) !== 0;
  state.inBody = (after & IN_BODY) !== 0;
  state.undecided = (after & UNDECIDED) !== 0;
  if (!all) state.lines -= lines - results[2]!;
  state.taken = results[0]! - start;
  state.stuffed = results[3]!;
  return to - into;
}

/**
 * Lines as they leave, LF → CRLF and byte-stuffed: the twin is `encodeLines` of ../../line-ends.ts. Sixteen octets
 * at a time are copied, with room made for the one octet that mostly comes between them, if any does.
 */
import { ROOM_BEFORE } from './layout';

const LF: u8 = 10;
const CR: u8 = 13;
const DOT: u8 = 0x2e;

/** Further results of the call that returned last: where it stopped reading... */
export let readUpTo: usize = 0;
/** ...and, counted on, how many dots were put before dots. */
export let stuffed: u32 = 0;

/** The octet at the n-th place stands twice, the last one not at all. */
function fillRooms(): void {
  for (let n: usize = 0; n < 16; n++) {
    for (let i: usize = 0; i < 16; i++) store<u8>(ROOM_BEFORE + 16 * n + i, <u8>(i > n ? i - 1 : i));
  }
}
fillRooms();

/** Begins to count dots. */
export function countDots(): void {
  stuffed = 0;
}

/**
 * Encodes [start, end) to `into`, as far as there is room up to `limit`; may write, and leave anything, up to there.
 * @param before the octet before `start` in the message
 * @returns the end of what was put; `readUpTo`, `stuffed`
 */
export function encodeLines(start: usize, end: usize, into: usize, limit: usize, before: u32): usize {
  let from = start;
  let to = into;
  let last = <u8>before;
  // The first octet, so that every other has the one before it in memory; and nearly at the limit, where each may
  // become two.
  while (from < end && to + 2 <= limit) {
    if (from > start) {
      while (from + 16 <= end && to + 18 <= limit) {
        const octets = v128.load(from);
        const marks = needRoom(v128.load(from - 1), octets);
        if (marks === 0) {
          v128.store(to, octets);
          from += 16;
          to += 16;
          continue;
        }
        const taken = makeRoom(octets, marks, from, to, 16);
        from += taken;
        to += taken + 1;
      }
      while (from < end && to + 18 <= limit) {
        const octets = v128.load(from);
        const left = end - from;
        const marks = needRoom(v128.load(from - 1), octets) & ((1 << (<u32>left)) - 1);
        const taken = makeRoom(octets, marks, from, to, left);
        from += taken;
        to += taken + <usize>(marks !== 0);
      }
      if (from === end || to + 2 > limit) break;
      last = load<u8>(from - 1);
    }
    const octet = load<u8>(from++);
    if (octet === LF && last !== CR) store<u8>(to++, CR);
    else if (octet === DOT && last === LF) {
      store<u8>(to++, DOT);
      stuffed++;
    }
    store<u8>(to++, octet);
  }
  readUpTo = from;
  return to;
}

/**
 * Puts at most `count` of sixteen octets, with one more before the first of `marks`: the octet there stands twice, and
 * LF becomes CR.
 * @returns how many of them, without that one: all, or up to the first mark if there are several
 */
function makeRoom(octets: v128, marks: u32, from: usize, to: usize, count: usize): usize {
  if (marks === 0) {
    v128.store(to, octets);
    return count;
  }
  const at = <usize>ctz(marks);
  const octet = load<u8>(from + at);
  v128.store(to, i8x16.swizzle(octets, v128.load(ROOM_BEFORE + (at << 4))));
  store<u8>(to, i8x16.extract_lane_u(octets, 15), 16);
  store<u8>(to + at, octet === LF ? CR : octet);
  stuffed += <u32>(octet === DOT);
  return (marks & (marks - 1)) === 0 ? count : at + 1;
}

/** One bit for each octet that needs another before it: LF without CR, and the dot that begins a line. */
function needRoom(before: v128, octets: v128): u32 {
  const bareLf = v128.andnot(i8x16.eq(octets, i8x16.splat(LF)), i8x16.eq(before, i8x16.splat(CR)));
  const dot = v128.and(i8x16.eq(octets, i8x16.splat(DOT)), i8x16.eq(before, i8x16.splat(LF)));
  return i8x16.bitmask(v128.or(bareLf, dot));
}

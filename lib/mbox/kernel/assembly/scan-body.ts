/**
 * The body of a message up to the next From_ line, at the speed of the memory: the twin is
 * `Scanner.#scanBody`. Octets are looked at sixteen at a time, each together with the one before it.
 */
import { RESULT } from './layout';

const LF: u8 = 10;
const CR: u8 = 13;
const F: u8 = 0x46;
/** `rom ` as a little-endian word. */
const ROM_: u32 = 0x206d6f72;
/** Octets looked at in one turn of the loop. */
const BLOCK: usize = 64;
/** Turns after which a lane of eight bits could be full. */
const TURNS: i32 = 63;

/**
 * Goes through [start, end), which begins in or at the start of a line that follows no empty line.
 * @param before the octet before `start`, and the one before that if it is LF, shifted left by 8
 * @returns where it stopped: at `From ` after an empty line, or at most 67 octets before `end`;
 *   `RESULT`: how many LFs up to there have no CR before them
 */
export function scanBody(start: usize, end: usize, before: u32): usize {
  let at = start;
  let previous = i8x16.replace_lane(i8x16.splat(0), 15, <i8>(before & 0xff));
  let bare: u32 = 0;
  while (at + BLOCK + 4 <= end) {
    let counts = i8x16.splat(0);
    for (let turn = 0; turn < TURNS && at + BLOCK + 4 <= end; turn++) {
      const a = v128.load(at);
      const b = v128.load(at, 16);
      const c = v128.load(at, 32);
      const d = v128.load(at, 48);
      const beforeA = shifted(previous, a);
      const beforeB = shifted(a, b);
      const beforeC = shifted(b, c);
      const beforeD = shifted(c, d);
      const f = v128.or(
        v128.or(lineWithF(beforeA, a), lineWithF(beforeB, b)),
        v128.or(lineWithF(beforeC, c), lineWithF(beforeD, d)),
      );
      if (v128.any_true(f)) {
        const found = firstFrom(start, at, before);
        if (found < at + BLOCK) {
          store<u32>(RESULT, bare + sum(counts) + bareIn(start, at, found, before));
          return found;
        }
      }
      const first = i8x16.add(bareLf(beforeA, a), bareLf(beforeB, b));
      const second = i8x16.add(bareLf(beforeC, c), bareLf(beforeD, d));
      counts = i8x16.sub(counts, i8x16.add(first, second));
      previous = d;
      at += BLOCK;
    }
    bare += sum(counts);
  }
  store<u32>(RESULT, bare);
  return at;
}

/** Each octet's predecessor. */
function shifted(previous: v128, octets: v128): v128 {
  return v128.shuffle<u8>(previous, octets, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30);
}

/** -1 in the lane of each LF that has no CR before it. */
function bareLf(before: v128, octets: v128): v128 {
  return v128.andnot(i8x16.eq(octets, i8x16.splat(LF)), i8x16.eq(before, i8x16.splat(CR)));
}

/** -1 in the lane of each F at the start of a line. */
function lineWithF(before: v128, octets: v128): v128 {
  return v128.and(i8x16.eq(octets, i8x16.splat(F)), i8x16.eq(before, i8x16.splat(LF)));
}

function sum(counts: v128): u32 {
  const words = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(counts));
  return (
    i32x4.extract_lane(words, 0) +
    i32x4.extract_lane(words, 1) +
    i32x4.extract_lane(words, 2) +
    i32x4.extract_lane(words, 3)
  );
}

/** The octet at `at`, which may be one of the two before `start`. */
function octet(start: usize, at: usize, before: u32): u8 {
  if (at >= start) return load<u8>(at);
  return <u8>(at + 1 === start ? before & 0xff : before >> 8);
}

/** Where the first `From ` after an empty line is in the block at `block`, or the end of the block. */
function firstFrom(start: usize, block: usize, before: u32): usize {
  for (let at = block; at < block + BLOCK; at++) {
    // The line at `start` follows no empty line.
    if (load<u8>(at) !== F || at === start || load<u32>(at, 1) !== ROM_) continue;
    if (octet(start, at - 1, before) !== LF) continue;
    const last = octet(start, at - 2, before);
    if (last === LF || (last === CR && octet(start, at - 3, before) === LF)) return at;
  }
  return block + BLOCK;
}

/** How many LFs in [block, stop) have no CR before them. */
function bareIn(start: usize, block: usize, stop: usize, before: u32): u32 {
  let bare: u32 = 0;
  for (let at = block; at < stop; at++) {
    if (load<u8>(at) === LF && octet(start, at - 1, before) !== CR) bare++;
  }
  return bare;
}

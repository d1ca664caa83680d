/**
 * The body of a message up to the next From_ line, at the speed of the memory: the twin is
 * `Scanner.#scanBody`. Octets are looked at sixteen at a time, each together with the two before it, which are
 * loaded again: that costs less than to shift them out of what is loaded.
 */
import { RESULT } from './layout';
import { octetsEqual } from './octets-equal';

const LF: u8 = 10;
const CR: u8 = 13;
const F: u8 = 0x46;
/** In memory: a constant would be made anew in each turn of the loop. */
const SOUGHT = memory.data<u8>([LF, F, CR]);
/** `rom ` as a little-endian word. */
const ROM_: u32 = 0x206d6f72;
/** Octets looked at in one turn of the loop. */
const BLOCK: usize = 64;
/** Octets after which a lane of eight bits could be full: 255 / 4 turns. */
const MOST: usize = 62 * BLOCK;

/**
 * Goes through [start, end), which begins in or at the start of a line that follows no empty line.
 * @param before the octet before `start`, and the one before that if it is LF, shifted left by 8
 * @returns where it stopped: at `From ` after an empty line, or at most 69 octets before `end`;
 *   `RESULT`: how many LFs up to there have no CR before them
 */
export function scanBody(start: usize, end: usize, before: u32): usize {
  store<u32>(RESULT, 0);
  if (start + 2 + BLOCK + 4 > end) return start;
  let bare = <u32>(load<u8>(start) === LF && <u8>before !== CR);
  if (isNext(start + 1, start, before)) {
    store<u32>(RESULT, bare);
    return start + 1;
  }
  // From here on, every octet has the two before it in memory; LFs are counted when they are the one before.
  const lf = v128.load_splat<u8>(SOUGHT);
  const f = v128.load_splat<u8>(SOUGHT, 1);
  const cr = v128.load_splat<u8>(SOUGHT, 2);
  let at = start + 2;
  const last = end - BLOCK - 4;
  while (at <= last) {
    let counts = i8x16.splat(0);
    for (const stop = min(last, at + MOST); at <= stop; at += BLOCK) {
      const two = at - 2;
      const lfA = i8x16.eq(v128.load(two, 1), lf);
      const lfB = i8x16.eq(v128.load(two, 17), lf);
      const lfC = i8x16.eq(v128.load(two, 33), lf);
      const lfD = i8x16.eq(v128.load(two, 49), lf);
      const fs = v128.or(
        v128.or(
          v128.and(i8x16.eq(v128.load(two, 2), f), lfA),
          v128.and(i8x16.eq(v128.load(two, 18), f), lfB),
        ),
        v128.or(
          v128.and(i8x16.eq(v128.load(two, 34), f), lfC),
          v128.and(i8x16.eq(v128.load(two, 50), f), lfD),
        ),
      );
      if (v128.any_true(fs)) {
        const found = nextIn(at, start, before);
        if (found !== 0) {
          store<u32>(RESULT, bare + sum(counts) + bareUpTo(at, found));
          return found;
        }
      }
      const bareA = v128.andnot(lfA, i8x16.eq(v128.load(two), cr));
      const bareB = v128.andnot(lfB, i8x16.eq(v128.load(two, 16), cr));
      const bareC = v128.andnot(lfC, i8x16.eq(v128.load(two, 32), cr));
      const bareD = v128.andnot(lfD, i8x16.eq(v128.load(two, 48), cr));
      counts = i8x16.sub(counts, i8x16.add(i8x16.add(bareA, bareB), i8x16.add(bareC, bareD)));
    }
    bare += sum(counts);
  }
  store<u32>(RESULT, bare + <u32>(load<u8>(at - 1) === LF && load<u8>(at - 2) !== CR));
  return at;
}

/** One bit for each of the 64 octets at `at` that is `octet`. */
function marks(at: usize, octet: u8): u64 {
  const low = octetsEqual(at, octet) | (octetsEqual(at + 16, octet) << 16);
  const high = octetsEqual(at + 32, octet) | (octetsEqual(at + 48, octet) << 16);
  return <u64>low | ((<u64>high) << 32);
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

/** Where `From ` after an empty line begins among the 64 octets at `at`; 0 if it does not. */
function nextIn(at: usize, start: usize, before: u32): usize {
  for (let marked = marks(at, F) & marks(at - 1, LF); marked !== 0; marked &= marked - 1) {
    const found = at + <usize>ctz(marked);
    if (isNext(found, start, before)) return found;
  }
  return 0;
}

/** How many LFs in [at - 1, stop), of 64 octets at most, have no CR before them. */
function bareUpTo(at: usize, stop: usize): u32 {
  const bare = marks(at - 1, LF) & ~marks(at - 2, CR);
  return <u32>popcnt(bare & (((<u64>2) << (<u64>(stop - at))) - 1));
}

/** Whether `From ` after an empty line begins at `at`, which is after `start`. */
function isNext(at: usize, start: usize, before: u32): bool {
  if (load<u8>(at) !== F || load<u32>(at, 1) !== ROM_ || load<u8>(at - 1) !== LF) return false;
  const last = octet(start, at - 2, before);
  return last === LF || (last === CR && octet(start, at - 3, before) === LF);
}

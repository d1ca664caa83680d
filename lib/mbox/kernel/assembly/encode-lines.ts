/**
 * LF → CRLF, as it leaves: the twin is `encodeLines` of ../../line-ends.ts. Octets are copied sixteen at a time,
 * up to the next LF that has no CR before it, and on from there.
 */
import { RESULT } from './layout';

const LF: u8 = 10;
const CR: u8 = 13;
const DOT: u8 = 0x2e;

/**
 * Encodes [start, end) to `into`, which must not overlap it, and have room for 16 octets more than the result.
 * The octet before `start` in memory is the one before in the message.
 * @returns how many octets that gave, at most twice as many; `RESULT`: 1 if a line begins with a dot, else 0
 */
export function encodeLines(start: usize, end: usize, into: usize): usize {
  let to = into;
  let dots = i8x16.splat(0);
  let from = start;
  while (from + 16 <= end) {
    const octets = v128.load(from);
    const before = v128.load(from - 1);
    v128.store(to, octets);
    dots = v128.or(dots, lineWithDot(before, octets));
    const bare = i8x16.bitmask(bareLf(before, octets));
    if (bare === 0) {
      from += 16;
      to += 16;
      continue;
    }
    const lf = <usize>ctz(bare);
    store<u8>(to + lf, CR);
    store<u8>(to + lf, LF, 1);
    from += lf + 1;
    to += lf + 2;
  }
  let dot = v128.any_true(dots);
  for (; from < end; from++) {
    const octet = load<u8>(from);
    const before = load<u8>(from - 1);
    if (octet === LF && before !== CR) store<u8>(to++, CR);
    else if (octet === DOT && before === LF) dot = true;
    store<u8>(to++, octet);
  }
  store<u32>(RESULT, dot ? 1 : 0);
  return to - into;
}

/** -1 in the lane of each LF that has no CR before it. */
function bareLf(before: v128, octets: v128): v128 {
  return v128.andnot(i8x16.eq(octets, i8x16.splat(LF)), i8x16.eq(before, i8x16.splat(CR)));
}

/** -1 in the lane of each dot at the start of a line. */
function lineWithDot(before: v128, octets: v128): v128 {
  return v128.and(i8x16.eq(octets, i8x16.splat(DOT)), i8x16.eq(before, i8x16.splat(LF)));
}

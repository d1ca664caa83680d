/**
 * A message as it leaves, from anywhere in it on: metadata fields hidden, cut where TOP wants it, lines encoded. The
 * twin is `encodeWire` of ../../encode-wire.ts.
 */
import { afterLine, afterLines, linesLeft } from './cut-lines';
import { countDots, encodeLines, readUpTo, stuffed } from './encode-lines';
import { FIRST_OCTETS, HIDDEN_FIELDS, RESULT } from './layout';
import { isHidden } from './scan-header';

const LF: u8 = 10;
const CR: u8 = 13;
const COLON: u8 = 0x3a;

/** Of the state, above the octet before `start`: see `WireState`. */
const HIDING: u32 = 0x100;
const IN_BODY: u32 = 0x200;
const UNDECIDED: u32 = 0x400;

/** As many lines as there are. */
const ALL: u32 = 0xffffffff;

/** What kind of line of a header begins somewhere: see `Verdict`. */
enum Kind {
  Hidden,
  Visible,
  Same,
  Empty,
  Undecided,
}

/**
 * Encodes [start, end) to `into`, as far as there is room up to `limit`; may write, and leave anything, up to there.
 * @param lines how many lines of the body are wanted
 * @returns the end of what was put; `RESULT`: where it stopped reading; the state and `lines` for the call that
 *   goes on there; how many dots were put before dots
 */
export function encodeWire(
  start: usize,
  end: usize,
  into: usize,
  limit: usize,
  state: u32,
  lines: u32,
): usize {
  let from = start;
  let to = into;
  let last = state & 0xff;
  let hiding = (state & HIDING) !== 0;
  let inBody = (state & IN_BODY) !== 0;
  let undecided = false;
  countDots();
  while (!inBody && from < end) {
    if (last === LF) {
      const kind = judge(from, end);
      undecided = kind === Kind.Undecided;
      if (undecided || (kind === Kind.Empty && to + 2 > limit)) break;
      if (kind === Kind.Empty) {
        store<u8>(to, CR);
        store<u8>(to, LF, 1);
        to += 2;
        from += load<u8>(from) === CR ? 2 : 1;
        hiding = false;
        inBody = true;
        break;
      }
      if (kind !== Kind.Same) hiding = kind === Kind.Hidden;
    }
    const begin = from;
    const stop = afterLine(from, end);
    if (hiding) from = stop;
    else {
      to = encodeLines(from, stop, to, limit, last);
      from = readUpTo;
    }
    if (from > begin) last = load<u8>(from - 1);
    if (from < stop) break;
  }
  let left = lines;
  if (inBody && lines > 0 && from < end) {
    const begin = from;
    const stop = lines === ALL ? end : afterLines(from, end, lines);
    if (lines !== ALL) left = linesLeft;
    to = encodeLines(from, stop, to, limit, last);
    from = readUpTo;
    if (from > begin) last = load<u8>(from - 1);
    if (from < stop && lines !== ALL) {
      afterLines(begin, from, lines);
      left = linesLeft;
    }
  }
  store<u32>(RESULT, <u32>from);
  store<u32>(RESULT, last | (hiding ? HIDING : 0) | (inBody ? IN_BODY : 0) | (undecided ? UNDECIDED : 0), 4);
  store<u32>(RESULT, left, 8);
  store<u32>(RESULT, stuffed, 12);
  return to;
}

/** Of what kind the line at `line` is, as far as the octets up to `end` tell. */
function judge(line: usize, end: usize): Kind {
  const first = load<u8>(line);
  if (first === LF) return Kind.Empty;
  if (first === CR) {
    if (line + 1 === end) return Kind.Undecided;
    return load<u8>(line, 1) === LF ? Kind.Empty : Kind.Visible;
  }
  // A continuation line shares the fate of its field (RFC 5322 §2.2.3).
  if (first === 0x20 || first === 0x09) return Kind.Same;
  if (load<u8>(FIRST_OCTETS + <usize>first) === 0) return Kind.Visible;
  const most = line + 1 + <usize>load<u32>(HIDDEN_FIELDS, 4);
  if (most <= end) return isHidden(line) ? Kind.Hidden : Kind.Visible;
  for (let at = line + 1; at < most; at++) {
    if (at === end) return Kind.Undecided;
    if (load<u8>(at) === COLON) return isHidden(line) ? Kind.Hidden : Kind.Visible;
    if (load<u8>(at) === LF) return Kind.Visible;
  }
  return Kind.Visible;
}

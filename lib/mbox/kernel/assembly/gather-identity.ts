/**
 * What the identity of a message is digested from, put together in one piece: the twin is `gather` of
 * ../../unique-id.ts, which says what it is.
 */
import { crc32 } from './crc';
import { VOLATILE_FIELDS, VOLATILE_FIRSTS } from './layout';
import { octetsEqual } from './octets-equal';

const LF: u8 = 10;
const CR: u8 = 13;

/** Octets of the body that are digested. */
const DIGESTED: usize = 512;

/** The header is not the one with that checksum. */
const CHANGED: i32 = -1;

/** For the twin: there is a CR, or a line without end. */
const UNUSUAL: i32 = 0;

/**
 * @param start the From_ line
 * @param body  what follows the header and its empty line
 * @param end   where the sample of the message ends
 * @param crc   CRC-32 of [start, body)
 * @param bodyOctets as `Extent` has them: a whole number
 * @param into  room for the sample and 48 octets more
 * @returns how many octets they are; CHANGED or UNUSUAL
 */
export function gatherIdentity(
  start: usize,
  body: usize,
  end: usize,
  crc: u32,
  bodyOctets: f64,
  into: usize,
): i32 {
  if (crc32(start, body, 0) !== crc) return CHANGED;
  let block = start;
  let ends = octetsEqual(block, LF);
  if (octetsEqual(block, CR) !== 0) return UNUSUAL;
  let to = into;
  let run = start;
  let hiding = false;
  let empty: usize = 0;
  let line = start;
  while (line < end) {
    const first = load<u8>(line);
    if (line !== start && first === LF) {
      empty = line;
      break;
    }
    // A continuation line shares the fate of its field (RFC 5322 §2.2.3); the From_ line is none.
    if (line !== start && first !== 0x20 && first !== 0x09) {
      const hides = load<u8>(VOLATILE_FIRSTS + <usize>first) !== 0 && isVolatile(line);
      if (hides !== hiding) {
        if (!hiding) to = copy(to, run, line);
        run = line;
        hiding = hides;
      }
    }
    while (ends === 0) {
      block += 16;
      if (block >= end) return UNUSUAL;
      ends = octetsEqual(block, LF);
      if (octetsEqual(block, CR) !== 0) return UNUSUAL;
    }
    const lf = block + <usize>ctz(ends);
    if (lf >= end) return UNUSUAL;
    ends &= ends - 1;
    line = lf + 1;
  }
  if (!hiding) to = copy(to, run, line);
  to = copyNumber(to, <u64>bodyOctets);
  if (empty === 0) return <i32>(to - into);
  const from = empty + 1;
  const stop = min(end, from + DIGESTED);
  for (let at = from; at < stop; at += 16) if (octetsEqual(at, CR) !== 0) return UNUSUAL;
  to = copy(to, from, stop);
  const endsLine = stop === from || load<u8>(stop - 1) === LF;
  if (stop - from < DIGESTED && !endsLine) store<u8>(to++, LF);
  return <i32>(to - into);
}

/** Writes up to fifteen octets more. @returns where it ends */
function copy(to: usize, from: usize, end: usize): usize {
  let at = to;
  for (let next = from; next < end; next += 16, at += 16) v128.store(at, v128.load(next));
  return to + (end - from);
}

/** On a line of its own, after a line end. @returns where it ends */
function copyNumber(to: usize, value: u64): usize {
  let digits: usize = 1;
  for (let left = value; left >= 10; left /= 10) digits++;
  store<u8>(to, LF);
  let left = value;
  for (let at = to + digits; at > to; at--, left /= 10) store<u8>(at, 0x30 + <u8>(left % 10));
  store<u8>(to + digits + 1, LF);
  return to + digits + 2;
}

/** Whether a field that mail readers change begins at `line`: name and colon, in any case. */
function isVolatile(line: usize): bool {
  const name = lowerCase(v128.load(line));
  const rest = lowerCase(v128.load(line, 16));
  const last = VOLATILE_FIELDS + 64 * <usize>load<u32>(VOLATILE_FIELDS);
  for (let field = VOLATILE_FIELDS + 64; field <= last; field += 64) {
    const differs = v128.and(v128.xor(name, v128.load(field)), v128.load(field, 32));
    const restDiffers = v128.and(v128.xor(rest, v128.load(field, 16)), v128.load(field, 48));
    if (!v128.any_true(v128.or(differs, restDiffers))) return true;
  }
  return false;
}

function lowerCase(octets: v128): v128 {
  const capital = v128.and(i8x16.gt_u(octets, i8x16.splat(0x40)), i8x16.lt_u(octets, i8x16.splat(0x5b)));
  return v128.or(octets, v128.and(capital, i8x16.splat(0x20)));
}

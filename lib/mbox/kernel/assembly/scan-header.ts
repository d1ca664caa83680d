/**
 * A whole header at once: where it ends, what RETR sends of it, and its checksum. The twins are `HeaderScan`
 * and `HeaderFilter`.
 */
import { crc32 } from './crc';
import { FIRST_OCTETS, HIDDEN_FIELDS, RESULT } from './layout';
import { octetsEqual } from './octets-equal';

const LF: u8 = 10;
const CR: u8 = 13;

/**
 * @param start the first octet after the From_ line
 * @param crc   CRC-32 of the From_ line
 * @returns where the body begins, after the empty line; 0 if there is none before `end`. `RESULT`: octets that
 *   RETR sends of the header without that line; its CRC-32 with the From_ line; the same and with the empty line;
 *   octets of the empty line
 */
export function scanHeader(start: usize, end: usize, crc: u32): usize {
  let octets: u32 = 0;
  let hiding = false;
  let block = start;
  let ends = octetsEqual(block, LF);
  for (let line = start; line < end; ) {
    const first = load<u8>(line);
    const empty: usize = first === LF ? 1 : first === CR && load<u8>(line, 1) === LF ? 2 : 0;
    if (empty > 0) {
      if (line + empty > end) return 0;
      const before = crc32(start, line, crc);
      store<u32>(RESULT, octets);
      store<u32>(RESULT, before, 4);
      store<u32>(RESULT, crc32(line, line + empty, before), 8);
      store<u32>(RESULT, <u32>empty, 12);
      return line + empty;
    }
    // A continuation line shares the fate of its field (RFC 5322 §2.2.3).
    if (first !== 0x20 && first !== 0x09)
      hiding = load<u8>(FIRST_OCTETS + <usize>first) !== 0 && isHidden(line);
    while (ends === 0) {
      block += 16;
      if (block >= end) return 0;
      ends = octetsEqual(block, LF);
    }
    const lf = block + <usize>ctz(ends);
    if (lf >= end) return 0;
    ends &= ends - 1;
    if (!hiding) octets += <u32>(lf + 1 - line) + <u32>(load<u8>(lf - 1) !== CR);
    line = lf + 1;
  }
  return 0;
}

/** Whether a hidden field begins at `line`: name and colon, in any case. */
export function isHidden(line: usize): bool {
  const octets = v128.load(line);
  const capital = v128.and(i8x16.gt_u(octets, i8x16.splat(0x40)), i8x16.lt_u(octets, i8x16.splat(0x5b)));
  const lower = v128.or(octets, v128.and(capital, i8x16.splat(0x20)));
  const last = HIDDEN_FIELDS + 32 * <usize>load<u32>(HIDDEN_FIELDS);
  for (let field = HIDDEN_FIELDS + 32; field <= last; field += 32) {
    const differs = v128.and(v128.xor(lower, v128.load(field)), v128.load(field, 16));
    if (!v128.any_true(differs)) return true;
  }
  return false;
}

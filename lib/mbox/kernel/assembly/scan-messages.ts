/**
 * Whole messages, as many as there are: what a scanner would make of them one by one. The twin is `Scanner`,
 * which takes what is left: a message that is cut, and From_ lines that are not of the usual form.
 */
import { crc32 } from './crc';
import { afterFromLine, isFrom } from './from-line';
import { OFFSET_ROWS, RESULT, SMALL_ROWS } from './layout';
import { scanBody } from './scan-body';
import { scanHeader } from './scan-header';

const LF: u8 = 10;
const CR: u8 = 13;

/**
 * @param start a line that begins a message if it is a From_ line
 * @param most  how many messages to take
 * @param offset of `start` in the file
 * @returns how many messages there are that end before `end`, with the next From_ line whole, each with a row in
 *   both tables; `RESULT`: where that next From_ line is
 */
export function scanMessages(start: usize, end: usize, most: u32, offset: f64): u32 {
  let message = start;
  let header = afterFromLine(message, end);
  let count: u32 = 0;
  while (count < most && header !== 0) {
    const fromCrc = crc32(message, header, 0);
    const body = scanHeader(header, end, fromCrc);
    if (body === 0) break;
    const headerOctets = load<u32>(RESULT);
    const crcBeforeEmpty = load<u32>(RESULT, 4);
    const headerCrc = load<u32>(RESULT, 8);
    // The empty line that ends the header may be the one before the next message.
    const isNext = isFrom(body);
    const next = isNext ? body : scanBody(body, end, LF);
    const bare = isNext ? 0 : load<u32>(RESULT);
    const afterNext = afterFromLine(next, end);
    if (afterNext === 0 || !isAfterEmpty(next)) break;
    const contentEnd = next - (load<u8>(next - 2) === CR ? 2 : 1);
    const hasBody = body <= contentEnd;
    // The separator takes two octets on the wire, whichever line end it has.
    const bodyOctets: u32 = hasBody ? <u32>(next - body) + bare - 2 : 0;
    const offsets = OFFSET_ROWS + 40 * <usize>count;
    store<f64>(offsets, offset + <f64>(message - start));
    store<f64>(offsets, offset + <f64>((hasBody ? body : contentEnd) - start), 8);
    store<f64>(offsets, offset + <f64>(contentEnd - start), 16);
    store<f64>(offsets, <f64>(headerOctets + (hasBody ? 2 + bodyOctets : 0)), 24);
    store<f64>(offsets, <f64>bodyOctets, 32);
    const small = SMALL_ROWS + 12 * <usize>count;
    store<u32>(small, <u32>(header - message));
    store<u32>(small, fromCrc, 4);
    store<u32>(small, hasBody ? headerCrc : crcBeforeEmpty, 8);
    message = next;
    header = afterNext;
    count++;
  }
  store<u32>(RESULT, <u32>message);
  return count;
}

/** Whether the line before `at` is empty; nearly at the end of the octets, `scanBody` stops anywhere. */
function isAfterEmpty(at: usize): bool {
  if (load<u8>(at - 1) !== LF) return false;
  const last = load<u8>(at - 2);
  return last === LF || (last === CR && load<u8>(at - 3) === LF);
}

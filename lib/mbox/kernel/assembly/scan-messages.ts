/**
 * Whole messages, as many as there are: what a scanner would make of them one by one. The twin is `Scanner`,
 * which takes what is left: a message that is cut, and From_ lines that are not of the usual form.
 */
import { crc32 } from './crc';
import { afterFromLine, isFrom } from './from-line';
import { RESULT, ROWS } from './layout';
import { scanBody } from './scan-body';
import { scanHeader } from './scan-header';

const LF: u8 = 10;
const CR: u8 = 13;

/**
 * @param start a line that begins a message if it is a From_ line
 * @param most  how many messages to take
 * @returns how many messages there are that end before `end`, with the next From_ line whole, each with a row at
 *   `ROWS`; `RESULT`: where that next From_ line is
 */
export function scanMessages(start: usize, end: usize, most: u32): u32 {
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
    const row = ROWS + 32 * <usize>count;
    store<u32>(row, <u32>(message - start));
    store<u32>(row, <u32>(header - message), 4);
    store<u32>(row, <u32>((hasBody ? body : contentEnd) - start), 8);
    store<u32>(row, <u32>(contentEnd - start), 12);
    store<u32>(row, headerOctets + (hasBody ? 2 + bodyOctets : 0), 16);
    store<u32>(row, bodyOctets, 20);
    store<u32>(row, fromCrc, 24);
    store<u32>(row, hasBody ? headerCrc : crcBeforeEmpty, 28);
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

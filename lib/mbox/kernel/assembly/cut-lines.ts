/** Where so many lines end, at the speed of the memory: the twin is `afterLines` of ../../line-ends.ts. */
import { octetsEqual } from './octets-equal';

const LF: u8 = 10;

/** Of the call that returned last: how many lines were not found. */
export let linesLeft: u32 = 0;

/** @returns what follows the `lines`-th line from `start` on; `end` when it does not end before. `linesLeft` */
export function afterLines(start: usize, end: usize, lines: u32): usize {
  let left = lines;
  let at = start;
  while (left > 0 && at < end) {
    let ends = octetsEqual(at, LF);
    if (end - at < 16) ends &= (1 << (<u32>(end - at))) - 1;
    const found = <u32>popcnt(ends);
    if (found < left) {
      left -= found;
      at = min(end, at + 16);
      continue;
    }
    for (; left > 1; left--) ends &= ends - 1;
    left = 0;
    at += <usize>ctz(ends) + 1;
  }
  linesLeft = left;
  return at;
}

/** What follows the line at `start`, or `end`. */
export function afterLine(start: usize, end: usize): usize {
  for (let at = start; at < end; at += 16) {
    const ends = octetsEqual(at, LF);
    if (ends !== 0) return min(end, at + <usize>ctz(ends) + 1);
  }
  return end;
}

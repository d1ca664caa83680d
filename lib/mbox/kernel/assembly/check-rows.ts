/**
 * Whether rows of an index can be those of a mailbox file: the twin is `checkRows` of ../../possible-index.ts.
 */

/** Octets of the shortest and of the longest From_ line, with its line end. */
const SHORTEST: f64 = 5;
const LONGEST: f64 = 2050;

/**
 * @param offsets of five f64 for each row: start, body, contentEnd, octets, bodyOctets
 * @param small   of three u32 for each row, of which the first is the octets of the From_ line
 * @param after   where the message before the first row ends
 * @param size    octets of the file
 * @returns the sum of `octets`; -1 if one row is not possible
 */
export function checkRows(offsets: usize, small: usize, rows: u32, after: f64, size: f64): f64 {
  let before = after;
  let sum: f64 = 0;
  let from = small;
  for (let row = offsets; row < offsets + 40 * <usize>rows; row += 40, from += 12) {
    const start = load<f64>(row);
    const body = load<f64>(row, 8);
    const contentEnd = load<f64>(row, 16);
    const octets = load<f64>(row, 24);
    const bodyOctets = load<f64>(row, 32);
    const fromLine = <f64>load<u32>(from);
    const header = start + fromLine;
    const isLine = fromLine >= SHORTEST && fromLine <= LONGEST;
    // Written so that NaN fails.
    const inOrder = start >= before && body >= header && contentEnd >= body && contentEnd <= size;
    const fits = bodyOctets >= 0 && octets >= bodyOctets && octets <= 2 * (contentEnd - header) + 2;
    const areWhole = isWhole(start) && isWhole(body) && isWhole(contentEnd);
    if (!isLine || !inOrder || !fits || !areWhole || !isWhole(octets) || !isWhole(bodyOctets)) return -1;
    sum += octets;
    before = contentEnd;
  }
  return sum;
}

function isWhole(value: f64): bool {
  return floor<f64>(value) === value;
}

/** Every subset of deletions, against concatenating what is left. */
import { describe, expect, test } from 'vitest';
import { firstMarked, planUpdate } from '../../lib/mbox/compaction.js';
import { withoutMarked } from '../../lib/mbox/index-rows.js';
import { extents, scan } from '../support/oracle-tools.js';

const FROM = 'From a@example.org Sat Jan  3 01:05:34 1996\n';
const PSEUDO = `${FROM}X-IMAP: 1 2\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\nkeep\n\n`;
const message = (i: number) => `${FROM}Subject: ${i}\n\n${'body\n'.repeat(i)}\n`;
const messages = (n: number) => Array.from({ length: n }, (_, i) => message(i)).join('');

const setOf = (count: number, marked: (n: number) => boolean) =>
  new Set(Array.from({ length: count }, (_, i) => i + 1).filter(marked));

/** What a caller does with a plan. */
function apply(file: Buffer, marked: (n: number) => boolean): Buffer {
  const index = scan(file);
  const plan = planUpdate(index, setOf(index.messages, marked));
  if (!plan) return file;
  const result = Buffer.concat([
    file.subarray(0, plan.from),
    ...plan.kept.map(({ start, end }) => file.subarray(start, end)),
  ]);
  expect(result.length).toBe(plan.newSize);
  return result;
}

function survivors(file: Buffer, marked: (n: number) => boolean): Buffer {
  const all = extents(scan(file));
  const before = file.subarray(0, all[0]?.start ?? file.length);
  const kept = all.filter((_, i) => !marked(i + 1)).map(e => file.subarray(e.start, e.end));
  return Buffer.concat([before, ...kept]);
}

describe('the plan of an UPDATE', () => {
  test.each([
    ['no message', ''],
    ['one', messages(1)],
    ['ten', messages(10)],
    ['seven, CRLF', messages(7).replaceAll('\n', '\r\n')],
    ['eight after empty lines', `\n\r\n\n${messages(8)}`],
    ['eight after folder internal data', `${PSEUDO}${messages(8)}`],
    ['five without final newline', `${messages(4)}${FROM}Subject: last\n\nno newline`],
    ['folder internal data only', PSEUDO],
  ])('every subset of %s', (_, text) => {
    const file = Buffer.from(text);
    const { messages } = scan(file);
    for (let subset = 0; subset < 2 ** messages; subset++) {
      const marked = (n: number) => Math.floor(subset / 2 ** (n - 1)) % 2 === 1;
      const result = apply(file, marked);
      if (Buffer.compare(result, survivors(file, marked)) !== 0) expect.fail(`subset ${subset}`);
      if (subset % 37 !== 0) continue;
      const left = scan(result);
      expect(left.messages).toBe(extents(scan(file)).filter((_, i) => !marked(i + 1)).length);
      if (subset > 0) expect(withoutMarked(scan(file), setOf(messages, marked))).toEqual(left);
    }
  });

  test('nothing marked: no plan, so nothing is written', () => {
    expect(planUpdate(scan(Buffer.from(messages(3))), new Set())).toBeUndefined();
  });

  test('neighbours are one range; a deleted end leaves none', () => {
    const index = scan(Buffer.from(messages(6)));
    const start = (n: number) => index.extent(n).start;
    expect(planUpdate(index, new Set([2]))).toEqual({
      from: start(2),
      kept: [{ start: start(3), end: index.size }],
      newSize: index.size - (start(3) - start(2)),
    });
    expect(planUpdate(index, new Set([6, 4, 5]))).toEqual({ from: start(4), kept: [], newSize: start(4) });
    expect(planUpdate(index, new Set([1, 2, 3, 4, 5, 6]))).toEqual({ from: 0, kept: [], newSize: 0 });
    expect(planUpdate(index, new Set([4, 1]))?.kept).toEqual([
      { start: start(2), end: start(4) },
      { start: start(5), end: index.size },
    ]);
  });

  test('the first of more marks than a call can have arguments', () => {
    const marks = new Set(Array.from({ length: 200_000 }, (_, i) => 200_005 - i));
    expect(firstMarked(marks)).toBe(6);
  });
});

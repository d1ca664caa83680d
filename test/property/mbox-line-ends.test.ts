/** LF → CRLF by the kernel and by its twin: the same octets, the same word about dots, the same when there is no room. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeLines, encodeLinesBy } from '../../lib/mbox/line-ends.js';
import { requireKernel } from '../support/oracle-tools.js';

const kernel = requireKernel();

/** Line ends of every kind close together, and long stretches without any. */
const octets = fc
  .array(
    fc.oneof(
      fc.constantFrom('\n', '\r\n', '\r', '.', '\n.', '\r\n.', '\n\n', 'a', '\0', '\xff', '\n\r\n', '\r\r\n'),
      fc.nat({ max: 80 }).map(length => 'x'.repeat(length)),
    ),
    { minLength: 1, maxLength: 150 },
  )
  .map(parts => Buffer.from(parts.join(''), 'latin1'));

const before = fc.constantFrom(0x0a, 0x0d, 0x2e, 0x61);

test('the kernel encodes what its twin does', () => {
  const dotted = new Set<boolean>();
  fc.assert(
    fc.property(
      octets,
      before,
      fc.nat({ max: 40 }),
      fc.option(fc.nat({ max: 300 })),
      (from, last, at, room) => {
        const size = at + (room ?? 2 * from.length);
        const [expected, found] = [Buffer.alloc(size, '#'), Buffer.alloc(size, '#')];
        const twin = { ...encodeLines(from, last, expected, at) };
        expect({ ...encodeLinesBy(kernel, from, last, found, at) }).toEqual(twin);
        expect(found.equals(expected)).toBe(true);
        dotted.add(twin.dots);
      },
    ),
    { seed: 19821213, numRuns: 3000 },
  );
  expect(dotted.size).toBe(2);
});

test('also more than fits into its memory at once, cut between CR and LF or before a dot', () => {
  const third = Math.floor((kernel.memory.slotSize - 32) / 3);
  for (const cut of ['\r\n', '\n', '\n.', 'a\n', '.\n']) {
    const from = Buffer.from(`${'y'.repeat(third - 1)}${cut}${'z\n'.repeat(third)}`, 'latin1');
    const [expected, found] = [Buffer.alloc(2 * from.length), Buffer.alloc(2 * from.length)];
    const twin = { ...encodeLines(from, 0x0a, expected, 0) };
    expect({ ...encodeLinesBy(kernel, from, 0x0a, found, 0) }).toEqual(twin);
    expect(found.equals(expected)).toBe(true);
  }
});

test('octets that are in the kernel’s own memory already are no exception', () => {
  const slot = kernel.memory.take();
  if (slot === undefined) throw new Error('no slot is free');
  const from = slot.subarray(0, slot.write('line\n.dot\r\n'.repeat(50)));
  const [expected, found] = [Buffer.alloc(2000), Buffer.alloc(2000)];
  const twin = { ...encodeLines(from, 0x0a, expected, 0) };
  expect({ ...encodeLinesBy(kernel, from, 0x0a, found, 0) }).toEqual(twin);
  expect(found.equals(expected)).toBe(true);
  kernel.memory.giveBack(slot);
});

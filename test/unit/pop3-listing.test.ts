/** The lines of LIST and UIDL, in buffers of every size. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ScanListing, type Told } from '../../lib/pop3/listing.js';
import { runs } from '../support/runs.js';

function all(messages: number, told: Told, room: number): string {
  const listing = new ScanListing(messages, told);
  let text = '';
  while (!listing.done) {
    const into = Buffer.alloc(room, '#');
    const count = listing.read(into);
    expect(into.toString('latin1', count)).toBe('#'.repeat(room - count));
    text += into.toString('latin1', 0, count);
  }
  return text;
}

test.each([110, 111, 127, 200, 4096])('in pieces of %i octets it is the same', room => {
  const sizes = [0, 1, 9, 10, 99, 100, 999, 1000, 4_294_967_295, 4_294_967_296, Number.MAX_SAFE_INTEGER];
  const expected = sizes.map((size, i) => `${i + 1} ${size}\r\n`).join('');
  expect(all(sizes.length, n => sizes[n - 1]!, room)).toBe(`${expected}.\r\n`);
  const ids = Array.from({ length: 1200 }, (_, i) => `${'!x~'.repeat(i % 23)}z`);
  const lines = ids.map((id, i) => `${i + 1} ${id}\r\n`).join('');
  expect(all(ids.length, n => ids[n - 1], room)).toBe(`${lines}.\r\n`);
});

test('a message of which nothing is told has no line', () => {
  expect(all(5, n => (n % 2 === 0 ? undefined : n), 200)).toBe('1 1\r\n3 3\r\n5 5\r\n.\r\n');
  expect(all(3, () => undefined, 200)).toBe('.\r\n');
  expect(all(0, () => 1, 200)).toBe('.\r\n');
});

test('numbers are spelled as String does it', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), size => {
      expect(all(1, () => size, 64)).toBe(`1 ${size}\r\n.\r\n`);
    }),
    runs(1939, 1000),
  );
});

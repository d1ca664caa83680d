/** The ranges that a journal keeps, as octets, and the sectors that are not wholly in one of them. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SECTOR } from '../../lib/maildrop/journal-format.js';
import { decodeRanges, encodeRanges, LostSectors, mostEncoded } from '../../lib/maildrop/kept-ranges.js';
import type { Range } from '../../lib/mbox/compaction.js';
import { runs } from '../support/runs.js';

/** Lengths of what goes and what stays, in turn, from `from` on; what comes last goes, or is nothing. */
const files = fc
  .record({
    from: fc.nat(3 * SECTOR),
    lengths: fc.array(fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 300, max: 4000 })), {
      minLength: 2,
      maxLength: 13,
    }),
  })
  .map(({ from, lengths }) => {
    const kept: Range[] = [];
    let at = from;
    for (const [i, length] of lengths.entries()) {
      if (i % 2 === 1) kept.push({ start: at, end: at + length });
      at += length;
    }
    return { from, kept, oldSize: at };
  });

test('read back as they were written', () => {
  fc.assert(
    fc.property(files, ({ from, kept, oldSize }) => {
      expect(decodeRanges(from, oldSize, encodeRanges(from, kept))).toEqual(kept);
    }),
    runs(512, 100),
  );
  const huge = [{ start: 2 ** 40, end: 2 ** 50 }];
  expect(decodeRanges(7, 2 ** 51, encodeRanges(7, huge))).toEqual(huge);
  expect(decodeRanges(7, 2 ** 49, encodeRanges(7, huge))).toBe(undefined);
  expect(decodeRanges(7, 2 ** 51, encodeRanges(7, huge).subarray(0, -1))).toBe(undefined);
});

test('as octets, no more than is set aside for them', () => {
  const sizes = fc.oneof(fc.integer({ min: 80, max: 400 }), fc.integer({ min: 400, max: 2 ** 31 }));
  fc.assert(
    fc.property(
      fc.array(sizes, { minLength: 2, maxLength: 200 }),
      fc.infiniteStream(fc.boolean()),
      (all, marks) => {
        const kept: Range[] = [];
        let [at, from] = [0, -1];
        for (const size of all) {
          const last = kept.at(-1);
          if (marks.next().value === true) {
            if (from < 0) from = at;
          } else if (from >= 0 && last?.end === at) {
            kept[kept.length - 1] = { start: last.start, end: at + size };
          } else if (from >= 0) kept.push({ start: at, end: at + size });
          at += size;
        }
        if (from < 0) return;
        const delivered = [...kept, { start: at, end: at + 2 ** 20 }];
        expect(encodeRanges(from, delivered).length).toBeLessThanOrEqual(mostEncoded(all.length, at));
      },
    ),
    runs(512, 100),
  );
});

test('a sector is lost if an octet of it is in no range, and they are numbered in order', () => {
  fc.assert(
    fc.property(files, fc.boolean(), ({ from, kept, oldSize }, backwards) => {
      const isKept = (at: number) => kept.some(({ start, end }) => start <= at && at < end);
      const lost = new Set<number>();
      for (let at = from; at < oldSize; at++) if (!isKept(at)) lost.add(Math.floor(at / SECTOR));
      const order = [...lost].sort((a, b) => a - b);
      const sectors = new LostSectors(from, oldSize, kept);
      expect(sectors.count).toBe(order.length);
      const all = Array.from({ length: Math.ceil(oldSize / SECTOR) + 1 }, (_, i) => i);
      for (const sector of backwards ? all.reverse() : all) {
        const index = order.indexOf(sector);
        expect(sectors.indexOf(sector)).toBe(index < 0 ? undefined : index);
      }
    }),
    runs(512, 100),
  );
});

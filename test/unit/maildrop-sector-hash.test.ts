/** What tells whether a sector of a mailbox file is as it was. */
import { expect, test } from 'vitest';
import { SECTOR } from '../../lib/maildrop/journal-format.js';
import { hashSector, SECTOR_HASH, sectorHash } from '../../lib/maildrop/sector-hash.js';

const TEXT = Buffer.alloc(
  SECTOR,
  'From alice@example.org Mon Jan  5 10:00:00 2026\nSubject: the same again\n',
);

test('each octet, its place and the length count', () => {
  const seen = new Set<string>();
  for (let at = 0; at < SECTOR; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const octets = Buffer.from(TEXT);
      octets[at]! ^= 1 << bit;
      seen.add(sectorHash(octets).toString('hex'));
    }
  }
  for (let length = 0; length <= SECTOR; length++)
    seen.add(sectorHash(TEXT.subarray(0, length)).toString('hex'));
  for (let length = 1; length <= SECTOR; length++) seen.add(sectorHash(Buffer.alloc(length)).toString('hex'));
  expect(seen.size).toBe(SECTOR * 8 + SECTOR + 1 + SECTOR);
});

test('it does not matter where in a buffer the octets are', () => {
  const { length } = TEXT;
  for (const before of [0, 1, 2, 3, 5, 8]) {
    const buffer = Buffer.concat([Buffer.alloc(before, 'x'), TEXT, Buffer.alloc(9, 'y')]);
    const into = Buffer.alloc(before + SECTOR_HASH);
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    hashSector(view, before, before + length, into, before);
    expect(into.subarray(before)).toEqual(sectorHash(TEXT));
  }
});

test('half of the bits change with any octet', () => {
  const was = sectorHash(TEXT);
  let [changed, least] = [0, 64];
  for (let at = 0; at < SECTOR; at++) {
    const octets = Buffer.from(TEXT);
    octets[at]! ^= 1;
    const is = sectorHash(octets);
    let bits = 0;
    for (let i = 0; i < SECTOR_HASH; i++) for (let x = is[i]! ^ was[i]!; x > 0; x >>= 1) bits += x & 1;
    changed += bits;
    least = Math.min(least, bits);
  }
  expect(changed / SECTOR).toBeGreaterThan(30);
  expect(changed / SECTOR).toBeLessThan(34);
  expect(least).toBeGreaterThan(8);
});

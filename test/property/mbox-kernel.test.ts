/**
 * The kernels in WebAssembly against their twins in TypeScript: the same index, octet by octet, for every
 * mailbox, every cutting and every place in memory.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MailboxIndex, OFFSETS, SMALL } from '../../lib/mbox/mailbox-index.js';
import { possibleIndex } from '../../lib/mbox/possible-index.js';
import { NotMbox, Scanner } from '../../lib/mbox/scanner.js';
import { cutting, FROM, mailbox, pieces } from '../support/nasty-mailboxes.js';
import { type Cutting, extents, requireKernel, scan, scanFast } from '../support/oracle-tools.js';
import { runs, TIMES } from '../support/runs.js';

const SEED = 19880301;
const kernel = requireKernel();

/** The index as plain data, or the offset it was refused at. */
function indexed(run: () => ReturnType<typeof scan>) {
  try {
    const index = run();
    return { messages: extents(index), hidden: index.hidden, size: index.size, total: index.totalOctets };
  } catch (error) {
    if (!(error instanceof NotMbox)) throw error;
    return { refused: error.offset };
  }
}

function same(file: Buffer, pieces: Cutting): void {
  expect(indexed(() => scanFast(kernel, file, pieces))).toEqual(indexed(() => scan(file, pieces)));
}

/** From_ lines that a kernel must leave to its twin, and lines that are none. */
const ODD_FROM = [
  'From  Sat Jan  3 01:05:34 1996',
  'From Sat Jan  3 01:05:34 1996',
  'From a@h Sat Jan 3 01:05:34 1996',
  'From a@h Sat Jan 33 01:05:34 1996',
  'From a@h Sat Jan 30 01:05:34 1996 ',
  'From a@h Sat Jan  0 01:05:34 1996',
  'From a@h\tSat Jan  3 01:05:34 1996',
  'From a@hSat Jan  3 01:05:34 1996',
  'From a@h Thu, 9 Nov 2002 22:33:52',
  'From here on',
];

/** Headers that begin after another message, so that the kernel takes them. */
const header = fc
  .array(
    fc.tuple(
      fc.constantFrom(
        ...pieces,
        'X',
        'Content-Length:',
        'content-lengthy: 1',
        'X-UID:1',
        'x-uidl: 1',
        'C',
        '\t',
        '@ :',
      ),
      fc.constantFrom('\n', '\n', '\n', '\r\n', '\r', '\n '),
    ),
    { maxLength: 30 },
  )
  .chain(lines => fc.constantFrom('\n', '\r\n', '').map(end => `${lines.flat().join('')}${end}`));
const headers = fc
  .array(header, { minLength: 1, maxLength: 4 })
  .map(all => Buffer.from(all.map(one => `${FROM}\n${one}\n\n`).join(''), 'latin1'));

/** Messages, most of them of the usual form and whole, one after the other. */
const usual = fc.constantFrom(FROM, FROM, `${FROM}\r`, 'From b@h Tue Feb 10 01:05:34 2026', ...ODD_FROM);
const messages = fc
  .array(
    fc
      .tuple(
        usual,
        fc.array(fc.constantFrom(...pieces), { maxLength: 4 }),
        fc.array(fc.constantFrom(...pieces), { maxLength: 9 }),
      )
      .chain(([from, head, body]) =>
        fc
          .constantFrom('\n', '\n', '\r\n')
          .map(end => [from, ...head, '', ...body, ''].join(end).concat(end)),
      ),
    { minLength: 3, maxLength: 25 },
  )
  .map(all => Buffer.from(all.join(''), 'latin1'));

/** Bodies that are long enough for a kernel, of lines that are short enough to hide much in a block. */
const longBody = fc
  .array(
    fc.tuple(
      fc.constantFrom(...pieces, FROM, 'F', 'From x', `${FROM} `, '\0', ''),
      fc.constantFrom('\n', '\r\n', '\n\n', '\n\r\n', '\r\n\r\n', '\r\n\n', '\r'),
    ),
    { minLength: 5, maxLength: 120 },
  )
  .map(lines => Buffer.from(`${FROM}\n\n${lines.flat().join('')}`, 'latin1'));
const wide: fc.Arbitrary<Cutting> = fc.oneof(
  fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 6 }),
  fc.array(fc.integer({ min: 150, max: 9000 }), { minLength: 1, maxLength: 6 }),
);

test('scan: nasty mailboxes', () => {
  fc.assert(fc.property(mailbox, fc.oneof(cutting, wide), same), runs(SEED, 600));
});

test('scan: messages', () => {
  fc.assert(fc.property(messages, fc.oneof(wide, fc.constant([65536])), same), runs(SEED, 1000));
});

test('scan: more messages than a kernel takes at a time, cut everywhere around the last', () => {
  const file = Buffer.from(`${FROM}\nS: x\nX-UID: 3\n\nbody\n\n`.repeat(kernel.mostRows * 2 + 3), 'latin1');
  const rows = ({ offsets, small }: ReturnType<typeof scan>) => [offsets, small].map(column => column.join());
  const sameRows = (part: Buffer, cutting: Cutting) =>
    expect(rows(scanFast(kernel, part, cutting))).toEqual(rows(scan(part, cutting)));
  for (let at = file.length - 80; at <= file.length; at++) sameRows(file.subarray(0, at), [65536]);
  for (let at = 1; at < 80; at++) sameRows(file, [at, 65536]);
});

test('scan: as few messages at a time as one likes', () => {
  const most = fc.integer({ min: 1, max: 12 });
  fc.assert(
    fc.property(messages, wide, most, (file, cutting, most) => {
      const expected = indexed(() => scan(file, cutting));
      expect(indexed(() => scan(file, cutting, most))).toEqual(expected);
      expect(indexed(() => scanFast(kernel, file, cutting, most))).toEqual(expected);
    }),
    runs(SEED, 500),
  );
});

test('scan: no call goes through many more messages than it was asked to', () => {
  const one = `${FROM}\n\n`;
  const file = Buffer.from(one.repeat(5000), 'latin1');
  const slot = kernel.memory.take()!;
  slot.set(file);
  for (const [scanner, octets] of [
    [new Scanner(), file],
    [new Scanner(kernel), slot.subarray(0, file.length)],
  ] as const) {
    expect(scanner.push(octets, 1000)).toBeLessThan((1000 + kernel.mostRows) * one.length);
  }
  kernel.memory.giveBack(slot);
});

test('scan: long bodies', () => {
  fc.assert(fc.property(longBody, wide, same), runs(SEED, 800));
});

test('scan: headers', () => {
  fc.assert(fc.property(headers, fc.oneof(wide, fc.constant([65536])), same), runs(SEED, 1500));
});

test('CRC-32 is that of zlib, of any length from any address', () => {
  const slot = kernel.memory.take()!;
  const address = kernel.addressOf(slot);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(40), fc.nat(0xffffffff), (octets, skew, value) => {
      slot.set(octets, skew);
      const crc = kernel.exports.crc32(address + skew, address + skew + octets.length, value) >>> 0;
      expect(crc).toBe(crc32(octets, value));
    }),
    runs(SEED, 100),
  );
  kernel.memory.giveBack(slot);
});

test('scan: any octets, of few kinds', () => {
  const octets = fc
    .array(fc.constantFrom('\n', '\r', 'F', 'From ', 'x', '\0', `\n\n${FROM}\n`), {
      minLength: 200,
      maxLength: 900,
    })
    .map(parts => Buffer.from(`${FROM}\n\n${parts.join('')}`, 'latin1'));
  fc.assert(fc.property(octets, wide, same), runs(SEED, 800));
});

test.each(['\n', '\r\n'])('scan: cut at every octet around a From_ line, lines ending in %j', end => {
  const body = `${'x'.repeat(60)}${end}`.repeat(5);
  const file = Buffer.from(`${FROM}${end}${end}${body}${end}${FROM}${end}S: x${end}${end}${body}`, 'latin1');
  for (let at = 1; at < file.length; at++) same(file, [at, file.length]);
});

test.each([
  ['empty lines', Buffer.concat([Buffer.from(`${FROM}\n`), Buffer.alloc(300_000, '\n')])],
  ['empty lines with CR', Buffer.concat([Buffer.from(`${FROM}\n`), Buffer.alloc(300_000, '\r\n')])],
  ['one huge line', Buffer.concat([Buffer.from(`${FROM}\n\n`), Buffer.alloc(300_000, 'x')])],
  ['NULs', Buffer.concat([Buffer.from(`${FROM}\n\n`), Buffer.alloc(300_000)])],
  ['From_ lines only', Buffer.alloc(300_000, `${FROM}\n\n`)],
  [
    'a header without end',
    Buffer.concat([Buffer.from(`${FROM}\n\n\n${FROM}\n`), Buffer.alloc(300_000, 'Status: x\nA: b\n')]),
  ],
  ['headers of one CR', Buffer.alloc(300_000, `${FROM}\n\r\n\r\n`)],
  ['almost From_ lines', Buffer.concat([Buffer.from(`${FROM}\n\n`), Buffer.alloc(300_000, '\nFrom x\n\n')])],
  [
    'every LF bare, more than a lane counts',
    Buffer.concat([Buffer.from(`${FROM}\n\n`), Buffer.alloc(99_999, 'F\n')]),
  ],
])('scan: %s', (_name, file) => {
  for (const pieces of [[262144], [65536], [4099, 1000, 333]]) same(file, pieces);
});

/** Numbers as they are in an index, and as whoever writes one may choose them. */
const number = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom(-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, -0) },
  { weight: 3, arbitrary: fc.nat({ max: 9000 }) },
);
const row = fc.record({
  fromLine: fc.oneof(
    { weight: 1, arbitrary: fc.constantFrom(4, 5, 2050, 2051) },
    { weight: 60, arbitrary: fc.integer({ min: 5, max: 2050 }) },
  ),
  lengths: fc.tuple(fc.integer({ min: 90, max: 900 }), fc.nat(900), fc.nat(90)),
  bodyOctets: fc.nat(90),
  octets: fc.nat(92),
});

test('rows read back: kernel and twin take the same ones, and say the same sum', () => {
  let possible = 0;
  const damage = fc.option(fc.tuple(fc.nat(40), fc.nat(OFFSETS - 1), number), { freq: 2 });
  fc.assert(
    fc.property(
      fc.array(row, { maxLength: 40 }),
      damage,
      fc.constantFrom<0 | 1>(0, 1),
      (rows, harm, hidden) => {
        const offsets = new Float64Array(rows.length * OFFSETS);
        const small = new Uint32Array(rows.length * SMALL);
        let start = 0;
        for (const [i, { fromLine, lengths, bodyOctets, octets }] of rows.entries()) {
          const body = start + fromLine + lengths[0];
          offsets.set([start, body, body + lengths[1], bodyOctets + octets, bodyOctets], i * OFFSETS);
          small[i * SMALL] = fromLine;
          start = body + lengths[1] + lengths[2];
        }
        if (harm !== null && rows.length > 0) offsets[(harm[0] % rows.length) * OFFSETS + harm[1]] = harm[2];
        const hides = rows.length > 0 ? hidden : 0;
        const twin = possibleIndex(offsets, small, start, hides);
        const fast = possibleIndex(offsets, small, start, hides, kernel);
        expect(fast).toEqual(twin);
        if (twin) possible++;
        if (twin) expect(twin.totalOctets).toBe(new MailboxIndex(offsets, small, start, hides).totalOctets);
      },
    ),
    runs(SEED, 3000),
  );
  expect(possible).toBeGreaterThan(1000 * TIMES);
  expect(possible).toBeLessThan(2500 * TIMES);
});

test.each([1, 8191, 8192, 8193, 20_000])('%d rows read back, one of them wrong anywhere', count => {
  const offsets = new Float64Array(count * OFFSETS);
  const small = new Uint32Array(count * SMALL);
  for (let i = 0; i < count; i++) {
    offsets.set([i * 100, i * 100 + 50, i * 100 + 99, 60, 40], i * OFFSETS);
    small[i * SMALL] = 20;
  }
  expect(possibleIndex(offsets, small, count * 100, 0, kernel)?.totalOctets).toBe(count * 60);
  expect(possibleIndex(offsets, small, count * 100, 1, kernel)?.totalOctets).toBe((count - 1) * 60);
  for (const wrong of [0, 8191, 8192, count - 1].filter(row => row < count)) {
    const was = offsets[wrong * OFFSETS]!;
    offsets[wrong * OFFSETS] = was - 2;
    expect(possibleIndex(offsets, small, count * 100, 0, kernel)).toBeUndefined();
    expect(possibleIndex(offsets, small, count * 100, 0)).toBeUndefined();
    offsets[wrong * OFFSETS] = was;
  }
});

const corpus = new URL('../../../shared/corpus/', import.meta.url);
test.skipIf(!existsSync(corpus))('scan: the corpus', () => {
  const names = readdirSync(corpus);
  expect(names.length).toBeGreaterThan(0);
  for (const name of names) {
    const file = readFileSync(new URL(name, corpus));
    for (const pieces of [[262144], [8191]]) same(file, pieces);
  }
});

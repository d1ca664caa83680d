/**
 * Messages as they leave, by the kernel and by its twin: the same octets read and given, the same state after each
 * call, whatever the octets, the cutting, the room and the place in memory. Nothing is written behind the room.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeWire, encodeWireBy, startOfMessage, type WireState } from '../../lib/mbox/encode-wire.js';
import { METADATA } from '../../lib/mbox/metadata.js';
import { requireKernel } from '../support/oracle-tools.js';
import { runs } from '../support/runs.js';

const kernel = requireKernel();
const SEED = 19821213;

const latin1 = (text: string) => Buffer.from(text, 'latin1');

/** Line ends of every kind close together, and long stretches without any. */
const body = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '\n',
        '\r\n',
        '\r',
        '.',
        '\n.',
        '\r\n.',
        '\n\n',
        'a',
        '\0',
        '\xff',
        '\n\r\n',
        '\r\r\n',
        '.\n',
      ),
      fc.nat({ max: 80 }).map(length => 'x'.repeat(length)),
    ),
    { maxLength: 150 },
  )
  .map(parts => parts.join(''));

/** Names of hidden fields, and what is nearly one. */
const name = fc
  .tuple(fc.constantFrom(...METADATA), fc.constantFrom(':', ': x', ' :', 's:', '', '\0:', ':\r', '-'))
  .chain(([field, end]) =>
    fc.constantFrom(field, field.toUpperCase(), field.toLowerCase()).map(it => `${it}${end}`),
  );

const line = fc.oneof(
  name,
  fc.constantFrom(
    'Subject: x',
    '\tmore',
    ' .',
    '.',
    '..',
    'X',
    'X-',
    'C',
    '\r',
    '\r\r',
    'a\rb',
    '@:',
    '[:',
    'x-uidl: 1',
    ' ',
  ),
  fc.nat({ max: 90 }).map(length => `X-Long: ${'y'.repeat(length)}`),
);

const header = fc
  .array(fc.tuple(line, fc.constantFrom('\n', '\n', '\n', '\r\n', '\r', '\n ')), { maxLength: 25 })
  .chain(lines => fc.constantFrom('\n', '\r\n', '').map(end => `${lines.flat().join('')}${end}`));

const message = fc.tuple(header, body).map(parts => latin1(parts.join('')));

const lines = fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.nat({ max: 30 }), fc.constant(2 ** 53));

/** Where the octets are, and where they go: in the kernel's memory, at any address, or elsewhere. */
const places = fc.record({ source: fc.boolean(), target: fc.boolean(), skew: fc.nat({ max: 40 }) });

const sources = kernel.memory.blocks.take()!;
const targets = kernel.memory.places.take()!;

interface Cut {
  readonly chunk: number;
  readonly room: number;
}

/** Goes through a message by twin and kernel in step. @returns all that it gave */
function inStep(
  octets: Buffer,
  wanted: number,
  cuts: readonly Cut[],
  { source, target, skew }: Place,
): string {
  const [twin, state] = [startOfMessage(wanted), startOfMessage(wanted)];
  let [position, given, stuck] = [0, '', 0];
  for (let i = 0; position < octets.length && stuck < 1000; i++) {
    const { chunk, room } = cuts[i % cuts.length]!;
    const from = octets.subarray(position, position + chunk + stuck);
    const expected = Buffer.alloc(skew + room + stuck, '#');
    const size = expected.length + 64;
    const into = (target ? targets.subarray(0, size) : Buffer.alloc(size)).fill('#');
    const seen = source ? sources.subarray(skew, skew + from.length) : Buffer.from(from);
    if (source) sources.fill(i % 2 === 0 ? '\n' : ':', 0, skew + from.length + 64).set(from, skew);

    const count = encodeWire(twin, from, 0, expected, skew);
    const found = encodeWireBy(kernel, state, seen, 0, into.subarray(0, expected.length), skew);
    expect({ count: found, ...state }).toEqual({ count, ...twin });
    const all = into.toString('latin1');
    expect(all.slice(skew, skew + count)).toBe(expected.toString('latin1', skew, skew + count));
    expect([all.slice(0, skew), all.slice(expected.length)]).toEqual(['#'.repeat(skew), '#'.repeat(64)]);

    given += expected.toString('latin1', skew, skew + count);
    position += twin.taken;
    // What is not decided is seen again with more behind it, as is what had no room.
    stuck = twin.taken > 0 ? 0 : stuck + 16;
    if (isDone(twin)) break;
  }
  return given;
}

type Place = { source: boolean; target: boolean; skew: number };
const isDone = (state: WireState) => state.inBody && state.lines === 0;

test('the kernel encodes what its twin does, for every cutting and every room', () => {
  const seen = { hidden: 0, stuffed: 0, cut: 0 };
  const cuts = fc.array(
    fc.record({ chunk: fc.integer({ min: 1, max: 400 }), room: fc.integer({ min: 0, max: 600 }) }),
    {
      minLength: 1,
      maxLength: 5,
    },
  );
  fc.assert(
    fc.property(message, lines, cuts, places, (octets, wanted, sizes, place) => {
      const given = inStep(octets, wanted, sizes, place);
      if (/^\.\./m.test(given)) seen.stuffed++;
      if (given.length < octets.length - 200) seen.cut++;
      if (/^status:/im.test(octets.toString('latin1')) && !/^status:/im.test(given)) seen.hidden++;
    }),
    runs(SEED, 4000),
  );
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(20);
});

describe('at every split, from one octet to all', () => {
  const nasty = latin1(
    `Status: RO\nA: b\r\nX-UID: 1\n\tmore\nX-UIDL: keep\ncontent-LENGTH: 7\r\n c\nx-imapbase:1\n.dot: 1\n\r\n.\n..\r\n\n\r\r\n${'z'.repeat(40)}\n.\xff\0\rend`,
  );
  test.each([[Number.POSITIVE_INFINITY], [0], [1], [4]])('%d lines', wanted => {
    const whole = inStep(nasty, wanted, [{ chunk: nasty.length, room: 1000 }], {
      source: true,
      target: true,
      skew: 0,
    });
    for (let at = 1; at < nasty.length; at++) {
      for (const place of [
        { source: true, target: true, skew: at % 17 },
        { source: false, target: false, skew: 1 },
      ]) {
        const cuts = [
          { chunk: at, room: 1000 },
          { chunk: nasty.length, room: 1000 },
        ];
        expect(inStep(nasty, wanted, cuts, place)).toBe(whole);
        expect(inStep(nasty, wanted, [{ chunk: 1000, room: at + 64 }], place)).toBe(whole);
      }
    }
  });
});

test.each([
  ['a line', 'x'],
  ['LF', '\n'],
  ['dots', '.\n'],
  ['CR', '\r'],
  ['CRLF', '\r\n'],
  ['a header', 'X-UID: 1\nA: b\n'],
])('100 KB and more of %s, also more than fits into its memory at once', (_name, piece) => {
  for (const [length, wanted] of [
    [100_000, Number.POSITIVE_INFINITY],
    [400_000, Number.POSITIVE_INFINITY],
    [400_000, 12_345],
  ] as const) {
    const octets = latin1(`${piece.length > 4 ? '' : '\n'}${piece.repeat(length / piece.length)}`);
    const [twin, state] = [startOfMessage(wanted), startOfMessage(wanted)];
    const [expected, into] = [Buffer.alloc(2 * length + 64), Buffer.alloc(2 * length + 64)];
    const count = encodeWire(twin, octets, 0, expected, 0);
    expect({ count: encodeWireBy(kernel, state, octets, 0, into, 0), ...state }).toEqual({ count, ...twin });
    expect(into.subarray(0, count).equals(expected.subarray(0, count))).toBe(true);
  }
});

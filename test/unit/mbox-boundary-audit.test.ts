// From_ lines that other programs take for the start of a message and we do not.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Audit, BoundaryAudit } from '../../lib/mbox/boundary-audit.js';
import { runs } from '../support/runs.js';

const FROM = 'From a@example.com Mon Jan  5 10:00:00 2026\n';

function audit(text: string, cuts: readonly number[] = []): Audit {
  const audit = new BoundaryAudit();
  const octets = Buffer.from(text, 'latin1');
  const bounds = [0, ...cuts.map(cut => Math.min(cut, octets.length)).sort((a, b) => a - b), octets.length];
  for (let i = 1; i < bounds.length; i++) audit.push(octets.subarray(bounds[i - 1], bounds[i]));
  return audit.end();
}

const NOTHING: Audit = { disputed: 0, firstDisputed: undefined, endsWithLine: true };

test.each([
  ['nothing', '', NOTHING],
  ['messages with empty lines between', `${FROM}A: b\n\nx\n\n${FROM}A: b\n\ny\n\n`, NOTHING],
  ['the same with CRLF', `${FROM}A: b\n\nx\n\n${FROM}A: b\n\ny\n\n`.replaceAll('\n', '\r\n'), NOTHING],
  ['prose', `${FROM}\nFrom here on, it rains.\n`, NOTHING],
  ['a quoted line', `${FROM}\nx\n>${FROM}`, NOTHING],
  ['no end of the last line', `${FROM}\nx`, { ...NOTHING, endsWithLine: false }],
  [
    'a message without an empty line before it',
    `${FROM}\nx\n${FROM}\ny\n`,
    { disputed: 1, firstDisputed: FROM.length + 3, endsWithLine: true },
  ],
  [
    'two of them',
    `${FROM}\nx\n${FROM}${FROM}`,
    { disputed: 2, firstDisputed: FROM.length + 3, endsWithLine: true },
  ],
  [
    'a From_ line as last line, without its end',
    `${FROM}\nx\n${FROM.trimEnd()}`,
    { disputed: 1, firstDisputed: FROM.length + 3, endsWithLine: false },
  ],
  [
    'one too long for a From_ line',
    `${FROM}\nx\nFrom ${'a'.repeat(3000)} Mon Jan  5 10:00:00 2026\n`,
    NOTHING,
  ],
])('%s', (_, text, expected) => {
  expect(audit(text)).toEqual(expected);
});

test('however the octets are cut', () => {
  const piece = fc.constantFrom(FROM, '\n', '\r\n', 'x\n', 'From ', 'x'.repeat(2100), FROM.trimEnd());
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 12 }),
      fc.array(fc.nat(4000), { maxLength: 6 }),
      (pieces, cuts) => {
        const text = pieces.join('');
        expect(audit(text, cuts)).toEqual(audit(text));
      },
    ),
    runs(5, 300),
  );
});

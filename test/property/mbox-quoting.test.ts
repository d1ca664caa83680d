/**
 * What a delivery makes of random messages put together from nasty pieces: always exactly one message to
 * our scanner, which can be turned back into what came, however the octets were cut on their way.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fromLine, isFromLine, senderOfFromLine } from '../../lib/mbox/from-line.js';
import { MessageEncoder, QUOTINGS, type Quoting } from '../../lib/mbox/quoting.js';
import { Scanner } from '../../lib/mbox/scanner.js';
import { runs } from '../support/runs.js';

const SEED = 20020512;
const ENVELOPE = 'From a@example.org Sat Jan  3 01:05:34 1996';

const pieces = [
  ENVELOPE,
  `>${ENVELOPE}`,
  `>>${ENVELOPE}`,
  'From ',
  'From',
  'Fro',
  'F',
  '>From ',
  '>>>>From here on',
  '> From ',
  '>',
  'From : odd',
  '',
  '',
  'Subject: hello',
  'x\r',
  '\r',
  'x\ry',
  '\0\xff',
  'From '.repeat(600),
  '>'.repeat(2100),
];
const line = fc.tuple(fc.constantFrom(...pieces), fc.constantFrom('\n', '\n', '\r\n', '\r\r\n'));
const message = fc
  .tuple(fc.array(line, { maxLength: 12 }), fc.constantFrom(...pieces))
  .map(([lines, last]) => lines.flat().join('') + last);

/** The encoder's answer as one string; `cuts` are the lengths of the chunks. */
function encode(text: string, quoting: Quoting, cuts: readonly number[] = []) {
  const encoder = new MessageEncoder(quoting);
  const octets = Buffer.from(text, 'latin1');
  const out: Buffer[] = [];
  let at = 0;
  for (const cut of [...cuts, octets.length]) {
    // A copy, as the next chunk overwrites the buffer of the last one.
    const chunk = Buffer.from(octets.subarray(at, at + cut));
    out.push(...encoder.push(chunk).map(piece => Buffer.from(piece)));
    chunk.fill(0x58);
    at += chunk.length;
  }
  out.push(...encoder.end().map(piece => Buffer.from(piece)));
  return { text: Buffer.concat(out).toString('latin1'), sender: encoder.envelopeSender };
}

/** What came, without its envelope, with LFs, and whole lines only. */
function arrived(text: string): string {
  const first = /^[^\n]*\n?/.exec(text)![0];
  const octets = Buffer.from(first, 'latin1');
  const isEnvelope = isFromLine(octets, 0, octets.length - (first.endsWith('\n') ? 1 : 0));
  let rest = isEnvelope ? text.slice(first.length) : text;
  if (/^[^\n]*\r\n/.test(rest)) rest = rest.replace(/(?<!\r)\r\n/g, '\n');
  return rest === '' || rest.endsWith('\n') ? rest : `${rest}\n`;
}

// Not `^`: to a regular expression, a CR ends a line as well.
const TO_QUOTE = { mboxo: /(?<=^|\n)(?=From )/g, mboxrd: /(?<=^|\n)(?=>*From )/g };

test.each(QUOTINGS)('%s: as a regular expression does it, whatever the cutting', quoting => {
  fc.assert(
    fc.property(message, fc.array(fc.nat(9), { maxLength: 40 }), (text, cuts) => {
      const whole = encode(text, quoting);
      const lines = arrived(text);
      expect(whole.text).toBe(lines === '' ? '' : `${lines.replace(TO_QUOTE[quoting], '>')}\n`);
      expect(encode(text, quoting, cuts)).toEqual(whole);
    }),
    runs(SEED, 3000),
  );
});

test.each(QUOTINGS)('%s: one message to the scanner, and mboxrd can be undone', quoting => {
  const stamp = fromLine('a@example.org', new Date(2026, 0, 5));
  fc.assert(
    fc.property(message, text => {
      const encoded = encode(text, quoting).text;
      fc.pre(encoded !== '');
      const scanner = new Scanner();
      scanner.push(Buffer.from(stamp + encoded, 'latin1'));
      const index = scanner.end();
      expect(index.messages).toBe(1);
      expect(index.extent(1)).toMatchObject({ start: 0, header: stamp.length, end: index.size });
      if (quoting === 'mboxo') return;
      expect(encoded.slice(0, -1).replace(/(?<=^|\n)>(?=>*From )/g, '')).toBe(arrived(text));
    }),
    runs(SEED, 3000),
  );
});

test('the From_ line of any sender at any time is one, and a single line', () => {
  const sender = fc.oneof(fc.string({ unit: 'binary', maxLength: 3000 }), fc.emailAddress());
  const date = fc.date({ min: new Date(0), max: new Date(253370764800000), noInvalidDate: true });
  fc.assert(
    fc.property(sender, date, (from, when) => {
      const bytes = Buffer.from(fromLine(from, when));
      expect(bytes.indexOf(10)).toBe(bytes.length - 1);
      expect(isFromLine(bytes, 0, bytes.length - 1)).toBe(true);
      expect(senderOfFromLine(bytes.toString())).toMatch(/^\S+$/);
    }),
    runs(SEED, 2000),
  );
});

test.each([
  ['', 'MAILER-DAEMON'],
  ['<>', 'MAILER-DAEMON'],
  ['<bob@example.net>', 'bob@example.net'],
  ['"a b"@example.net', '"a_b"@example.net'],
  ['x Sat Jan  3 01:05:34 1996\nFrom evil', 'x_Sat_Jan__3_01:05:34_1996_From_evil'],
  ['-f@example.net', '-f@example.net'],
  ['jörg@exämple.net', 'jörg@exämple.net'],
])('the sender %j is written as %s', (sender, word) => {
  expect(fromLine(sender, new Date(1996, 0, 3, 1, 5, 34))).toBe(`From ${word} Wed Jan  3 01:05:34 1996\n`);
});

test.each([
  ['From bob@example.net Mon Jan  5 10:00:00 2026\nSubject: x\n\ny\n', 'bob@example.net'],
  ['From "a b"@c Mon Jan  5 10:00:00 2026\r\nSubject: x\r\n', '"a b"@c'],
  ['From  Mon Jan  5 10:00:00 2026\nSubject: x\n', ''],
  ['From : bob@example.net\nSubject: x\n', undefined],
  ['From here on\n', undefined],
  ['Subject: x\n', undefined],
])('%j comes from %j', (text, sender) => {
  expect(encode(text, 'mboxo').sender).toBe(sender);
});

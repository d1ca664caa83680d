/** Random mailboxes put together from nasty pieces, for property tests. */
import fc from 'fast-check';
import type { Cutting } from './oracle-tools.js';

export const FROM = 'From a@example.org Sat Jan  3 01:05:34 1996';
const SUBJECT = "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA";

/** Lines that have been mistaken for something else. */
export const pieces = [
  FROM,
  `${FROM}\r`,
  `From ${'x'.repeat(2015)}@h Sat Jan  3 01:05:34 1996`,
  `From ${'x'.repeat(2016)}@h Sat Jan  3 01:05:34 1996`,
  `From ${'x'.repeat(2017)}@h Sat Jan  3 01:05:34 1996`,
  'From here on',
  'From ',
  'From',
  '>From a@example.org Sat Jan  3 01:05:34 1996',
  '',
  '',
  '',
  '\r',
  '\r\r',
  ' ',
  '\tfolded',
  ' folded: more',
  'Subject: hello',
  'Status: RO',
  'status : RO',
  'STATUS:',
  'Status',
  'Statuses: x',
  'X-Mozilla-Status2: 0001',
  'X-Mozilla-Status22: 0001',
  'X-UIDL: abc',
  'Lines: 3',
  'Content-Length: 1000000',
  'X-IMAP: 1 2',
  'X-IMAPbase: 1 2',
  SUBJECT,
  'body',
  '.',
  '..',
  '\0\xff\xfe',
  'x\r',
  'x\ry',
  '\rx',
  'x'.repeat(70),
  'y'.repeat(600),
  'z'.repeat(2100),
];

const line = fc.tuple(fc.constantFrom(...pieces), fc.constantFrom('\n', '\n', '\n', '\r\n', '\r\r\n'));
const separator = fc.constantFrom('\n', '\r\n', '\n\n', '', '\n', '\n');
const message = fc
  .tuple(
    fc.constantFrom(FROM, FROM, pieces[2]!),
    fc.constantFrom('\n', '\r\n'),
    fc.array(line, { maxLength: 8 }),
    separator,
  )
  .map(([from, end, lines, last]) => `${from}${end}${lines.flat().join('')}${last}`);
/** Whole files, also such as are none. */
export const mailbox = fc
  .tuple(
    fc.constantFrom('', '', '', '\n', '\r\n\n', 'garbage\n', '\n\nFrom\n'),
    fc.array(message, { maxLength: 5 }),
    fc.constantFrom('', '', ...pieces),
  )
  .map(parts => Buffer.from(parts.flat().join(''), 'latin1'));
/** Lengths of chunks. */
export const cutting: fc.Arbitrary<Cutting> = fc.oneof(
  fc.constantFrom<Cutting>([1], [2], [7], [64], [4096]),
  fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 6 }),
  fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 6 }),
);

import { describe, expect, test } from 'vitest';
import { assignUniqueIds, surelyDiffer, survivingOrdinals } from '../../lib/mbox/ordinals.js';
import { IdentityDigest } from '../../lib/mbox/unique-id.js';
import { identity, scan } from '../support/oracle-tools.js';

const FROM = 'From carol@example.org Sat Jan  3 01:05:34 1996\n';
const HEAD = 'From: carol@example.org\nSubject: lunch\n';
const BODY = 'See you at twelve.\n';
const PLAIN = `${FROM}${HEAD}\n${BODY}`;

const idOf = (text: string) => {
  const file = Buffer.from(text, 'latin1');
  return identity(file, scan(file).extent(1));
};

describe('an identity', () => {
  test('is 128 bits in lower-case hexadecimal', () => expect(idOf(PLAIN)).toMatch(/^[0-9a-f]{32}$/));

  test.each([
    ['a Status field added', `${FROM}Status: RO\n${HEAD}\n${BODY}`],
    [
      'several fields of a mail reader',
      `${FROM}${HEAD}X-Status: A\nX-UID: 7      \nX-Keywords:   \nStatus: O\n\n${BODY}`,
    ],
    ['X-IMAPbase moved here', `${FROM}X-IMAPbase: 1234 5\n   Junk\n${HEAD}\n${BODY}`],
    [
      'Mozilla fields',
      `${FROM}X-Mozilla-Status: 0001\nX-Mozilla-Status2: 00000000\nX-Mozilla-Keys:  \n${HEAD}\n${BODY}`,
    ],
    ['qpopper wrote X-UIDL', `${FROM}${HEAD}X-UIDL: 0123456789abcdef\n\n${BODY}`],
    ['mutt wrote Content-Length and Lines', `${FROM}${HEAD}Content-Length: 19\nLines: 1\n\n${BODY}`],
    ['CRLF line ends', PLAIN.replaceAll('\n', '\r\n')],
    ['no final newline', PLAIN.slice(0, -1)],
    ['the final newline half there', `${PLAIN.slice(0, -1)}\r`],
    ['mail came after it', `${PLAIN}\n${FROM}\n\n`],
    ['empty lines before it', `\n\n${PLAIN}`],
  ])('stays: %s', (_, text) => expect(idOf(text)).toBe(idOf(PLAIN)));

  test('of a long CRLF body without final newline stays when it is rewritten', () => {
    const long = `${FROM}${HEAD}\n${'\n'.repeat(600)}${BODY.repeat(100)}`;
    expect(idOf(long.replaceAll('\n', '\r\n').slice(0, -2))).toBe(idOf(long));
  });

  test.each([
    ['From_ line', PLAIN.replace('01:05:34', '01:05:35')],
    ['subject', PLAIN.replace('lunch', 'Lunch')],
    ['a field more', `${FROM}X-Spam: no\n${HEAD}\n${BODY}`],
    ['body', PLAIN.replace('twelve', 'eleven')],
    ['length of the body', `${FROM}${HEAD}\n${BODY}\n\n`],
    ['a lone CR', PLAIN.replace('twelve', 'twelv\re')],
  ])('differs by %s', (_, text) => expect(idOf(text)).not.toBe(idOf(PLAIN)));

  test('of a long body differs by its length alone', () => {
    const text = (n: number) => `${FROM}${HEAD}\n${'x'.repeat(70)}\n${BODY.repeat(n)}`;
    expect(idOf(text(500))).not.toBe(idOf(text(501)));
  });

  test('of a header without an empty line is the same when the empty line is there', () => {
    expect(idOf(`${FROM}${HEAD}`)).toBe(idOf(`${FROM}${HEAD}\n\n`));
    expect(idOf(`${FROM}${HEAD}`.slice(0, -1))).toBe(idOf(`${FROM}${HEAD}\n\n`));
  });

  test('takes a header of 64 MiB in bounded memory', () => {
    const digest = new IdentityDigest(0);
    const filler = Buffer.alloc(1 << 20, 'x');
    digest.push(Buffer.from(FROM));
    for (let i = 0; i < 64; i++) digest.push(filler);
    expect(digest.end()).toMatch(/^[0-9a-f]{32}$/);
  });
});

/** Eight, as evenly spread as those of a digest. */
const digits = (n: number) => (Math.imul(n + 1, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0');

describe('unique-ids', () => {
  const none = new Map<string, number[]>();

  test('identical messages are told apart by their order', () => {
    expect(assignUniqueIds(['a', 'b', 'a', 'a'], none)).toEqual(['a', 'b', 'a-2', 'a-3']);
  });

  test('ordinals that are remembered go to the first messages, later ones count on', () => {
    const ordinals = new Map([['a', [2, 5]]]);
    expect(assignUniqueIds(['a', 'a', 'a', 'a'], ordinals)).toEqual(['a-2', 'a-5', 'a-6', 'a-7']);
    expect(assignUniqueIds(['a'], ordinals)).toEqual(['a-2']);
    expect(assignUniqueIds(['b', 'b'], ordinals)).toEqual(['b', 'b-2']);
  });

  test.each<[string, (n: number) => string, boolean]>([
    ['all differ', n => digits(n).repeat(4), true],
    ['some begin alike', n => `${digits(n % 40)}${digits(n).repeat(3)}`, true],
    ['some differ in their ends only', n => `${digits(n % 40).repeat(2)}${digits(n).repeat(2)}`, false],
    ['many begin alike', n => `${digits(7)}${digits(n).repeat(3)}`, false],
    ['many are twins', n => digits(n % 70).repeat(4), false],
    ['the last two are twins', n => digits(Math.min(n, 98)).repeat(4), false],
  ])('in a crowd: %s: whether they surely differ', (_, identityOf, surely) => {
    const identities = Array.from({ length: 100 }, (_, n) => identityOf(n));
    expect(surelyDiffer(Buffer.from(identities.join(''), 'hex'))).toBe(surely);
  });

  test('of none, and of one', () => {
    expect(surelyDiffer(Buffer.alloc(0))).toBe(true);
    expect(surelyDiffer(Buffer.alloc(16))).toBe(true);
    expect(surelyDiffer(Buffer.alloc(32))).toBe(false);
  });

  test('only what would not be counted again is remembered', () => {
    const marked =
      (...numbers: number[]) =>
      (n: number) =>
        numbers.includes(n);
    const ids = ['a', 'b', 'a', 'a'];
    expect(survivingOrdinals(ids, none, marked())).toEqual(none);
    expect(survivingOrdinals(ids, none, marked(2, 4))).toEqual(none);
    expect(survivingOrdinals(ids, none, marked(1, 3, 4))).toEqual(none);
    expect(survivingOrdinals(ids, none, marked(1))).toEqual(new Map([['a', [2, 3]]]));
    expect(survivingOrdinals(ids, none, marked(3))).toEqual(new Map([['a', [1, 3]]]));
    expect(survivingOrdinals(['a', 'a'], new Map([['a', [2, 3]]]), marked(2))).toEqual(new Map([['a', [2]]]));
    expect(survivingOrdinals(['a', 'a'], new Map([['a', [1, 3]]]), marked(2))).toEqual(none);
  });
});

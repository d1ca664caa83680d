import { describe, expect, test } from 'vitest';
import { isFromLine, MAX_FROM_LINE } from '../../lib/mbox/from-line.js';
import { oracleIsFromLine } from '../support/oracle.js';

const is = (text: string) => {
  const bytes = Buffer.from(text, 'latin1');
  expect(oracleIsFromLine(text), 'the oracle').toBe(isFromLine(bytes, 0, bytes.length));
  return isFromLine(bytes, 0, bytes.length);
};

describe('From_ lines', () => {
  test.each([
    ['Postfix', 'From carol@example.org  Mon Jan  5 10:00:00 2026'],
    ['Exim', 'From carol@example.org Mon Jan 05 10:00:00 2026'],
    ['null sender', 'From MAILER-DAEMON Mon Jan  5 10:00:00 2026'],
    ['sender missing', 'From Mon Jan  5 10:00:00 2026'],
    ['sender missing, its space there', 'From  Mon Jan  5 10:00:00 2026'],
    ['Netscape', 'From - Mon Jan  5 10:00:00 2026'],
    ['git', 'From nobody Mon Sep 17 00:00:00 2001'],
    ['quoted local part', 'From "john q. public"@example.org Mon Jan  5 10:00:00 2026'],
    ['pipermail', 'From carol at example.org  Mon Jan  5 10:00:00 2026'],
    ['bang path', 'From uunet!ucbvax!carol Mon Jan  5 10:00:00 2026'],
    ['remote from', 'From uucp Mon Jan  5 10:00:00 2026 remote from ucbvax'],
    ['remote from, short', 'From carol Mon Jan  5 10:00 2026 remote from ucbvax'],
    ['without seconds', 'From carol@example.org Mon Jan  5 10:00 2026'],
    ['zone before the year', 'From carol@example.org Mon Jan  5 10:00:00 PST 2026'],
    ['two words of zone', 'From carol@example.org Mon Jan  5 10:00:00 MET DST 2026'],
    ['offset before the year', 'From carol@example.org Mon Jan  5 10:00:00 -0700 2026'],
    ['no seconds, zone before the year', 'From carol@example.org Wed Feb 23 20:13 MET 2000'],
    ['offset after the year', 'From carol@example.org Mon Jan  5 10:00:00 2026 +0200'],
    ['zone after the year', 'From carol@example.org Tue Jul  7 20:33:03 1998 WETDST'],
    ['offset and zone', 'From carol@example.org Mon Jan  5 10:00:00 2026 +0000 (UTC)'],
    ['RFC 822', 'From carol@example.org Thu, 9 Nov 2002 22:33:52'],
    ['RFC 822 with a zone', 'From carol@example.org Thu, 9 Nov 2002 22:33:52 +0100'],
    ['RFC 822 of smail', 'From uucp!bang!someid Tue, 04 Jan 11 08:44:27 PST remote from ahost'],
    ['two-digit year', 'From carol@example.org Mon Jan  5 10:00:00 98'],
    ['one-digit hour', 'From carol@example.org Mon Jan  5 1:00:00 2026'],
    ['leap second', 'From carol@example.org Sat Dec 31 23:59:60 2016'],
    ['tabs', 'From carol@example.org\tMon Jan  5 10:00:00 2026'],
    ['spaces at the end', 'From carol@example.org Mon Jan  5 10:00:00 2026   '],
    ['CR at the end', 'From carol@example.org Mon Jan  5 10:00:00 2026\r'],
    ['8-bit sender', 'From caf\xe9@example.org Mon Jan  5 10:00:00 2026'],
    ['NUL in the sender', 'From a\0b Mon Jan  5 10:00:00 2026'],
    ['a date in the sender', 'From Mon Jan 5 Mon Jan  5 10:00:00 2026'],
  ])('%s', (_, line) => expect(is(line)).toBe(true));

  test.each([
    ['nothing', ''],
    ['a word', 'From'],
    ['a word and a space', 'From '],
    ['prose', 'From here on, nothing is known.'],
    ['prose with a day', 'From Monday Jan 5 10:00:00 2026'],
    ['no date', 'From nobody'],
    ['Netscape without a date', 'From - '],
    ['quoted', '>From carol@example.org Mon Jan  5 10:00:00 2026'],
    ['a header field', 'From: carol@example.org Mon Jan  5 10:00:00 2026'],
    ['lower case', 'from carol@example.org Mon Jan  5 10:00:00 2026'],
    ['leading space', ' From carol@example.org Mon Jan  5 10:00:00 2026'],
    ['no space after the sender', 'From carolMon Jan  5 10:00:00 2026'],
    ['no weekday', 'From carol@example.org Jan  5 10:00:00 2026'],
    ['no time', 'From carol@example.org Mon Jan  5 2026'],
    ['no year', 'From carol@example.org Mon Jan  5 10:00:00'],
    ['three-digit year', 'From carol@example.org Mon Jan  5 10:00:00 202'],
    ['day 0', 'From carol@example.org Mon Jan  0 10:00:00 2026'],
    ['day 32', 'From carol@example.org Mon Jan 32 10:00:00 2026'],
    ['minute 60', 'From carol@example.org Mon Jan  5 10:60:00 2026'],
    ['no such month', 'From carol@example.org Mon Jxn  5 10:00:00 2026'],
    ['words after the date', 'From carol@example.org Mon Jan  5 10:00:00 2026 we met again'],
    ['BOM', '\xef\xbb\xbfFrom carol@example.org Mon Jan  5 10:00:00 2026'],
    ['CR within', 'From carol@example.org Mon Jan  5 10:00:00 2026\r\r'],
  ])('not: %s', (_, line) => expect(is(line)).toBe(false));

  test.each([
    [MAX_FROM_LINE - 1, '', true],
    [MAX_FROM_LINE, '', true],
    [MAX_FROM_LINE, '\r', true],
    [MAX_FROM_LINE + 1, '', false],
    [MAX_FROM_LINE + 1, '\r', false],
    [1 << 20, '', false],
  ])('%i octets long, then %j: %s', (length, end, expected) => {
    const date = ' Mon Jan  5 10:00:00 2026';
    expect(is(`From ${'x'.repeat(length - 5 - date.length)}${date}${end}`)).toBe(expected);
  });

  test('only [start, end) is looked at', () => {
    const line = 'From a Mon Jan  5 10:00:00 2026';
    const bytes = Buffer.from(`xx${line}yy`);
    expect(isFromLine(bytes, 2, 2 + line.length)).toBe(true);
    expect(isFromLine(bytes, 2, 1 + line.length)).toBe(false);
    expect(isFromLine(bytes, 3, 2 + line.length)).toBe(false);
    expect(isFromLine(bytes, 2, 4)).toBe(false);
    expect(isFromLine(new Uint8Array(bytes), 2, 2 + line.length)).toBe(true);
  });
});

test.each(['Sat Jan  3 01:05:34 1996', 'Sat Jan 23 21:05:34 1996', 'Sun Dec 31 23:59:60 2016'])(
  '%s with any one octet changed, or any two digits, is what the oracle says',
  date => {
    const line = `From a@b ${date}`;
    const texts: string[] = [];
    for (let i = 8; i < line.length; i++) {
      const changed = (by: string) => line.slice(0, i) + by + line.slice(i + by.length);
      for (const octet of '0123456789 :\taMJSn\xff') texts.push(changed(octet));
      for (let two = 0; two < 100; two++) texts.push(changed(String(two).padStart(2, '0')));
      for (const short of [
        line.slice(0, i) + line.slice(i + 1),
        changed(''),
        `${line.slice(0, i)}0${line.slice(i)}`,
      ])
        texts.push(short);
    }
    const wrong = texts.filter(text => {
      const bytes = Buffer.from(text, 'latin1');
      return isFromLine(bytes, 0, bytes.length) !== oracleIsFromLine(text);
    });
    expect(wrong).toEqual([]);
    expect(texts.some(text => oracleIsFromLine(text))).toBe(true);
  },
);

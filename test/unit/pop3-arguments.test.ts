/** C7: the exact grammar of arguments; nothing odd is ever message 1. */
import { describe, expect, test } from 'vitest';
import { BadRequest } from '../../lib/errors.js';
import {
  ArgumentReader,
  digest,
  lineCount,
  messageNumber,
  name,
  optional,
  type Parser,
  restOfLine,
} from '../../lib/pop3/arguments.js';
import { command } from '../../lib/pop3/command.js';
import { ok } from '../../lib/pop3/reply.js';
import { parseRequest } from '../../lib/pop3/request.js';

const octets = (text: string) => Buffer.from(text, 'latin1');
const text = (value: Uint8Array) => Buffer.from(value).toString('latin1');

/** What a command with these parsers is given for a line. */
function run<A extends unknown[]>(
  parsers: readonly [...{ [K in keyof A]: Parser<A[K]> }],
  line: string,
): A | undefined {
  let seen: A | undefined;
  const row = command<undefined, A>(parsers, (_, ...args) => {
    seen = args;
    return ok('');
  });
  row.run(undefined, parseRequest(octets(line)));
  return seen;
}

describe('C7: message-numbers', () => {
  test.each([
    ['X 1', 1],
    ['X 1 ', 1],
    ['X 10', 10],
    ['X 4294967297', 4294967297],
    [`X ${Number.MAX_SAFE_INTEGER}`, Number.MAX_SAFE_INTEGER],
  ])('%j', (line, n) => expect(run([messageNumber], line)).toEqual([n]));

  test.each([
    ['X'],
    ['X '],
    ['X 0'],
    ['X 01'],
    ['X +1'],
    ['X -1'],
    ['X 1.0'],
    ['X 1.5'],
    ['X 1e0'],
    ['X 1e1'],
    ['X 0x1'],
    ['X 1x'],
    ['X x1'],
    ['X  1'],
    ['X \t1'],
    ['X 1\t2'],
    ['X 1 2'],
    ['X 1,2'],
    ['X 1\xb9'],
    ['X \xb2'],
    ['X Infinity'],
    ['X 9007199254740992'],
    ['X 18446744073709551617'],
    [`X ${'9'.repeat(500)}`],
  ])('refuses %j', line => {
    expect(() => run([messageNumber], line)).toThrow(BadRequest);
  });
});

test.each([
  ['X 0', 0],
  ['X 7', 7],
  ['X 18446744073709551616', Number.MAX_SAFE_INTEGER],
  [`X ${'9'.repeat(500)}`, Number.MAX_SAFE_INTEGER],
])('lines: %j', (line, n) => expect(run([lineCount], line)).toEqual([n]));

test.each(['X', 'X -1', 'X 00', 'X 01', 'X 1.0', 'X ten'])('lines: refuses %j', line => {
  expect(() => run([lineCount], line)).toThrow(BadRequest);
});

test('an optional argument is there or not, but never wrong', () => {
  expect(run([optional(messageNumber)], 'X')).toEqual([undefined]);
  expect(run([optional(messageNumber)], 'X  ')).toEqual([undefined]);
  expect(run([optional(messageNumber)], 'X 3')).toEqual([3]);
  expect(() => run([optional(messageNumber)], 'X 03')).toThrow(BadRequest);
});

test.each([
  ['PASS secret', 'secret'],
  ['PASS  secret', ' secret'],
  ['PASS se  cret ', 'se  cret '],
  ['PASS \t', '\t'],
  ['PASS   ', '  '],
  ['PASS \xe9\xff', '\xe9\xff'],
  ['PASS %s%n%d', '%s%n%d'],
])('the rest of %j', (line, password) => {
  const [value] = run([restOfLine], line) ?? [];
  expect(value && text(value)).toBe(password);
});

test.each(['PASS', 'PASS '])('no password in %j', line => {
  expect(() => run([restOfLine], line)).toThrow(BadRequest);
});

test('a name outlives the line it came in', () => {
  const line = octets('USER mrose');
  const value = name(new ArgumentReader(parseRequest(line)));
  line.fill('#');
  expect(text(value)).toBe('mrose');
});

test('a digest is 32 lower-case hexadecimal digits', () => {
  const good = 'c4c9334bac560ecc979e58001b3e22fb';
  expect(run([name, digest], `APOP mrose ${good}`)?.[1]).toBe(good);
  for (const bad of [good.toUpperCase(), good.slice(1), `${good}0`, `${good.slice(1)}g`, '']) {
    expect(() => run([name, digest], `APOP mrose ${bad}`)).toThrow(BadRequest);
  }
});

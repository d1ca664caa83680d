import { expect, test } from 'vitest';
import { isUserName, userNameFrom } from '../../lib/auth/user-name.js';

test.each([
  'alice',
  'a',
  '_smtp',
  '7up',
  'Bob.Smith',
  'a+b',
  'joe@example.org',
  'a-b_c',
  'lock',
  'a.lock.b',
  'constructor',
  '__proto__',
  'x'.repeat(64),
])('%j is a user name', name => {
  expect(isUserName(name)).toBe(true);
  expect(userNameFrom(Buffer.from(name))).toBe(name);
});

test.each([
  '',
  '.',
  '..',
  '.a',
  '../x',
  'a/b',
  '/etc/passwd',
  'a\0b',
  'a b',
  ' a',
  'a\n',
  'a\r',
  '\ta',
  '-a',
  '+a',
  '@a',
  '%d%{x}',
  "a'--",
  'a:b',
  'a\\b',
  'bob.lock',
  'bob.LOCK',
  '\u00e9',
  'e\u0301',
  '\u00c3\u00a9',
  '\u202ea',
  'x'.repeat(65),
  'x'.repeat(300),
])('C46: %j is none', name => {
  expect(isUserName(name)).toBe(false);
  expect(userNameFrom(Buffer.from(name))).toBeUndefined();
  expect(userNameFrom(Buffer.from(name, 'latin1'))).toBeUndefined();
});

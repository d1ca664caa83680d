import { expect, test } from 'vitest';
import { parseUsers } from '../../lib/auth/users-lines.js';

const parse = (text: string) => parseUsers(Buffer.from(text, 'latin1'));
const problemsOf = (text: string) => parse(text).problems.map(({ line, reason }) => `${line}: ${reason}`);

test('names, passwords, ids; comments, empty lines, CRLF, no final newline', () => {
  const { users, problems } = parse(
    [
      '# comment: with: colons',
      '',
      '   ',
      'alice:{PLAIN}a b\tc',
      'bob:ab1234567890.:1000:100:Bob:/home/bob:/bin/sh:userdb_quota=1:more\r',
      'carol:*::',
      'dave:{PLAIN}x:1000',
      'eve:{PLAIN}\xe9:4294967294:4294967294',
      'frank:{PLAIN}x::100',
    ].join('\n'),
  );
  expect(problems).toEqual([]);
  expect([...users.values()].map(user => user.account)).toEqual([
    { user: 'alice' },
    { user: 'bob', uid: 1000, gid: 100 },
    { user: 'carol' },
    { user: 'dave', uid: 1000 },
    { user: 'eve', uid: 4294967294, gid: 4294967294 },
    { user: 'frank', gid: 100 },
  ]);
  expect(users.get('alice')?.secret).toEqual({ kind: 'plain', octets: Buffer.from('a b\tc') });
  expect(users.get('bob')?.secret).toEqual({ kind: 'des', hash: 'ab1234567890.' });
  expect(users.get('carol')?.secret.kind).toBe('locked');
  expect(users.get('eve')?.secret).toEqual({ kind: 'plain', octets: Buffer.from([0xe9]) });
});

test.each([
  ['alice', 'no colon and password after the name'],
  ['alice:x:0', 'uid 0 is not allowed'],
  ['alice:x:00', 'uid 0 is not allowed'],
  ['alice:x:1:0', 'gid 0 is not allowed'],
  ['alice:x:-1', 'uid is not a number'],
  ['alice:x:1e3', 'uid is not a number'],
  ['alice:x: 1', 'uid is not a number'],
  ['alice:x:4294967295', 'uid is not a number'],
  ['alice:x:1:mail', 'gid is not a number'],
  ['../alice:x', 'not a user name before the first colon'],
  [':x', 'not a user name before the first colon'],
  ['alice.lock:x', 'not a user name before the first colon'],
  [' alice:x', 'not a user name before the first colon'],
  ['+alice:x', 'not a user name before the first colon'],
  ['\xef\xbb\xbfalice:x', 'not a user name before the first colon'],
  ['alice:{MD4}abc', 'password scheme {MD4} is not supported'],
  ['alice:{SSHA.ROT13}abc', 'password scheme {SSHA.ROT13} is not supported'],
  ['alice:{SSHA}abc', 'value of {SSHA} is not base64'],
  ['alice:{SSHA}YWJj', 'salted digest is too short'],
  ['alice:{PBKDF2}$1$salt$1000000000$00', 'PBKDF2 is not $1$SALT$ITERATIONS$KEY, or takes too long'],
  [`alice:$6$rounds=999999999$salt$${'x'.repeat(86)}`, 'password hash costs too much to check'],
  ['alice:secret', 'password is neither a crypt(3) hash nor {PLAIN}'],
  ['alice:{PLAIN}a\0b', 'password has a NUL octet'],
  [`alice:{PLAIN}${'x'.repeat(512)}`, 'password over 511 octets'],
])('%j is named with its line and harms nobody else', (bad, reason) => {
  const { users, problems } = parse(`zoe:{PLAIN}z\n${bad}\nyan:{PLAIN}y\n`);
  expect(problems).toEqual([{ line: 2, reason }]);
  expect(users.get('zoe')?.secret.kind).toBe('plain');
  expect(users.get('yan')?.secret.kind).toBe('plain');
  expect(users.get('alice')?.secret.kind).toBe(users.has('alice') ? 'unknown' : undefined);
});

test('the first of two lines of a name counts, also when it is malformed or locked', () => {
  expect(problemsOf('alice:{PLAIN}a\nalice:{PLAIN}b\n')).toEqual([
    '2: user alice is there already; the first line counts',
  ]);
  expect(parse('alice:{PLAIN}a\nalice:{PLAIN}b\n').users.get('alice')?.secret).toEqual({
    kind: 'plain',
    octets: Buffer.from('a'),
  });
  expect(parse('alice:!\nalice:{PLAIN}b\n').users.get('alice')?.secret.kind).toBe('locked');
  expect(parse('alice:x:0\nalice:{PLAIN}b\n').users.get('alice')?.secret.kind).toBe('unknown');
});

test('a problem never shows the password field', () => {
  const told = problemsOf(
    'alice:topsecret\nbob:topsecret:0\ncarol:{PLAIN}topsecret:x\ntopsecret topsecret\n',
  );
  expect(told).toHaveLength(4);
  expect(told.join()).not.toContain('topsecret');
});

test('any octets at all are read without harm', () => {
  const noise = Buffer.from(Array.from({ length: 4096 }, (_, n) => (n * 167 + (n >> 4)) & 0xff));
  expect(parseUsers(noise).users.size).toBe(0);
  const good = Buffer.from('\nalice:{PLAIN}a\n');
  expect(parseUsers(Buffer.concat([noise, good, noise])).users.has('alice')).toBe(true);
});

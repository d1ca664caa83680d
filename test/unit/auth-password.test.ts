// Password checks, against vectors that crypt(3) of libxcrypt 4.4.33 made from `correct horse`.
import { expect, test, vi } from 'vitest';
import { comparePassword, sameOctets, verifyPassword } from '../../lib/auth/password.js';
import { readSecret } from '../../lib/auth/secret.js';
import { Unavailable } from '../../lib/errors.js';
import { linuxHost } from '../../lib/host/linux.js';
import { createPortableHost } from '../../lib/host/portable.js';

const bytes = (text: string, encoding: BufferEncoding = 'utf8') => Buffer.from(text, encoding);
const verify = (password: Uint8Array, stored: string) => verifyPassword(linuxHost, password, stored);

const STORED = [
  ['yescrypt', '$y$j75$abcdefgh$Jakf0CHhzdQOivqISxvBXCIRIaxY0Fs1wJGsJSurry/'],
  ['bcrypt', '$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e'],
  [
    'sha512crypt',
    '$6$rounds=1000$abcdefgh$DbXqPck5ABZumVXwcH5eMVHsPZwvQ3jylSxpJmKkZVxcoCiC3N0rPerjHmAqL7r6PK6CIeYnO9.vxpbsevscg/',
  ],
  ['sha256crypt', '$5$rounds=1000$abcdefgh$ue35C0ITbth1b5zVUjrjm2mMmsmMKiodEeH2UV/Hq10'],
  ['md5crypt', '$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80'],
  ['descrypt', 'abhfCpXqd4GrI'],
  ['{CRYPT} with DES', '{CRYPT}abhfCpXqd4GrI'],
  [
    '{crypt} with sha512',
    '{crypt}$6$rounds=1000$abcdefgh$DbXqPck5ABZumVXwcH5eMVHsPZwvQ3jylSxpJmKkZVxcoCiC3N0rPerjHmAqL7r6PK6CIeYnO9.vxpbsevscg/',
  ],
  [
    '{SHA512-CRYPT}',
    '{SHA512-CRYPT}$6$rounds=1000$abcdefgh$DbXqPck5ABZumVXwcH5eMVHsPZwvQ3jylSxpJmKkZVxcoCiC3N0rPerjHmAqL7r6PK6CIeYnO9.vxpbsevscg/',
  ],
  ['{PLAIN}', '{PLAIN}correct horse'],
  ['{plain}', '{plain}correct horse'],
] as const;

/** One setting of each kind, to hash odd passwords with. */
const SETTINGS = [
  '$y$j75$abcdefgh$',
  '$2b$04$abcdefghijklmnopqrstuu',
  '$6$rounds=1000$abcdefgh$',
  '$5$rounds=1000$abcdefgh$',
  '$1$abcdefgh$',
  'ab',
];

test.each(STORED)('%s: the right password and no other', async (_, stored) => {
  expect(await verify(bytes('correct horse'), stored)).toBe(true);
  for (const wrong of ['Correct horse', 'correct', ' correct horse', 'x', stored]) {
    expect(await verify(bytes(wrong), stored)).toBe(false);
  }
});

test.each(STORED)(
  'C43: %s: failures never let anybody in, and the right password still does',
  async (_, stored) => {
    for (let attempt = 0; attempt < 10; attempt += 1)
      expect(await verify(bytes(`wrong ${attempt}`), stored)).toBe(false);
    expect(await verify(bytes('correct horse'), stored)).toBe(true);
    expect(await verify(bytes('wrong'), stored)).toBe(false);
  },
);

test.each(STORED)('C57: %s: a truncated hash lets nobody in', async (_, stored) => {
  for (const length of [1, 2, 3, 4, 8, stored.length - 1]) {
    const part = stored.slice(0, length);
    if (part.toUpperCase().startsWith('{PLAIN}')) continue;
    for (const password of ['correct horse', part, '', 'x']) {
      expect(await verify(bytes(password), part)).toBe(false);
    }
  }
});

test.each([
  '',
  '*',
  '!',
  '!!',
  '*LK*',
  '*0',
  '*1',
  'x',
  '$9$abc$def',
  '$',
  '$$',
  '{',
  '{}',
  '{}x',
  '{PLAIN}',
  '{plain}',
  '{CRYPT}',
  '{CRYPT}x',
  '{CRYPT}{PLAIN}x',
  '{SSHA}x',
  '{PLAIN',
  'secret',
  '!abhfCpXqd4GrI',
  '!$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80',
  '\u0141',
  '{PLAIN}\u0141',
  '{PLAIN}a\0',
  'ab',
  'é'.repeat(13),
])('C57: nobody logs in with the stored field %j', async stored => {
  for (const password of ['', stored, 'x', 'A', 'secret', 'correct horse', stored.replace(/^\{.*\}/, '')]) {
    expect(await verify(bytes(password), stored)).toBe(false);
    expect(await verify(bytes(password, 'latin1'), stored)).toBe(false);
  }
});

test('C57: an empty password never logs in, not even where crypt(3) would agree', async () => {
  for (const setting of SETTINGS) {
    const hashOfNothing = await linuxHost.crypt(bytes(''), setting);
    expect(hashOfNothing).toMatch(/.{13}/);
    expect(await verify(bytes(''), hashOfNothing!)).toBe(false);
  }
  expect(await verify(bytes(''), '{PLAIN}')).toBe(false);
});

const ODD = [
  ['TAB', bytes('sec\tret')],
  ['LF', bytes('sec\nret')],
  ['CR', bytes('sec\rret')],
  ['CRLF at the end', bytes('secret\r\n')],
  ['=', bytes('sec=ret')],
  ['0x01', bytes('sec\x01ret')],
  ['0x80', bytes('a\x80bcdefg', 'latin1')],
  ['0xff', bytes('sec\xffret', 'latin1')],
  ['UTF-8', bytes('sécret')],
  ['spaces', bytes('  secret  ')],
  ['a brace', bytes('{PLAIN}secret')],
  ['511 octets', Buffer.alloc(511, 'p')],
] as const;

test.each(ODD)('C44: a password with %s is taken octet for octet by every scheme', async (_, password) => {
  const stored = await Promise.all(SETTINGS.map(setting => linuxHost.crypt(password, setting)));
  for (const field of [...stored, `{PLAIN}${password.toString('latin1')}`]) {
    expect(await verify(password, field!)).toBe(true);
    expect(await verify(Buffer.concat([bytes('x'), password.subarray(0, 500)]), field!)).toBe(false);
  }
});

test.each([
  ['NUL inside', bytes('correct horse\0x')],
  ['NUL at the end', bytes('correct horse\0')],
  ['only NUL', bytes('\0')],
  ['512 octets', Buffer.alloc(512, 'p')],
  ['64 KiB', Buffer.alloc(65_536, 'p')],
])('C44, C48: a password with %s is refused by every scheme, before any hashing', async (_, password) => {
  const host = { crypt: vi.fn(async () => undefined) };
  for (const [, stored] of STORED) expect(await verifyPassword(host, password, stored)).toBe(false);
  expect(await verifyPassword(host, password, `{PLAIN}${password.toString('latin1')}`)).toBe(false);
  expect(host.crypt).not.toHaveBeenCalled();
});

test('DES by the package is DES by crypt(3), for every octet', async () => {
  for (let octet = 1; octet < 256; octet += 6) {
    const password = Buffer.from([octet, 0x41, octet]);
    const salt = './09AZaz'.charAt(octet % 8) + './09AZaz'.charAt((octet >> 3) % 8);
    expect(await verify(password, (await linuxHost.crypt(password, salt))!)).toBe(true);
  }
});

test('without crypt(3), "cannot tell" is no answer about the password', async () => {
  const portable = createPortableHost();
  await expect(verifyPassword(portable, bytes('correct horse'), STORED[0][1])).rejects.toThrow(Unavailable);
  expect(await verifyPassword(portable, bytes('correct horse'), 'abhfCpXqd4GrI')).toBe(true);
  expect(await verifyPassword(portable, bytes('x'), '{PLAIN}x')).toBe(true);
  expect(await verifyPassword(portable, bytes('x'), '$9$abc$def')).toBe(false);
});

test('C57: a failure token of crypt(3) is never a match, even for a host that returns it', async () => {
  const host = { crypt: async () => '*0' };
  expect(await verifyPassword(host, bytes('x'), '$9$abc$def')).toBe(false);
  expect(await verifyPassword(host, bytes('x'), '*0')).toBe(false);
});

test('C53: comparison is by digests of one length', () => {
  expect(sameOctets(bytes('a'), 'a')).toBe(true);
  expect(sameOctets(bytes('a'), 'b')).toBe(false);
  expect(sameOctets(bytes('a'), 'ab')).toBe(false);
  expect(sameOctets(bytes(''), '')).toBe(true);
});

test('the log can tell a wrong password from a hash that is none', async () => {
  const compare = (stored: string) => comparePassword(linuxHost, bytes('x'), readSecret(stored));
  expect(await compare('$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80')).toBe('wrong');
  expect(await compare('$9$abc$def')).toBe('unusable');
  expect(await compare('!')).toBe('unusable');
});

// Password checks, against vectors that crypt(3) of libxcrypt 4.4.33 and `doveadm pw` of Dovecot 2.3.19 made
// from `correct horse`.
import { expect, test, vi } from 'vitest';
import { maskHash } from '../../lib/auth/crypt-strings.js';
import { comparePassword, sameOctets } from '../../lib/auth/password.js';
import { costOf, readHash, readSecret } from '../../lib/auth/secret.js';
import { Unavailable } from '../../lib/errors.js';
import { linuxHost } from '../../lib/host/linux.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { verifyPassword } from '../support/passwords.js';

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
  ['gost-yescrypt', '$gy$j75$abcdefgh$E.8/7w02Y2Ed.Uc2CpVIdgpGTbWIWVYm/SoufLuoKA2'],
  ['scrypt', '$7$85..../....abcdefghijkl$WvG4PQZwA.hKyf9S73ZyOcvLjsDE/lCZ1LZyLPVZk13'],
  ['bcrypt $2a$', '$2a$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e'],
  ['bcrypt $2y$', '$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e'],
  ['bsdicrypt', '_/...abcdljU8ze5rzsY'],
  ['sunmd5', '$md5,rounds=10$abcdefgh$$xfgM0D6FdZ.kQ03pOoLQ41'],
  ['sha1crypt', '$sha1$100$abcdefgh$5WnrdgFiVw7wF5odD5qEsDE/Tbbz'],
  [
    'sha512crypt by mkpasswd',
    '$6$rounds=2000$1O35.ReZ4F/FG4HQ$N8r9n8CyPcpczOa7yBiXE9lvrsB7wawzQBGwWd72Tq.R4OKPwJHvOf24xAr1YF2jinTB5VrzUq/qk9UkiL4JF/',
  ],
  ['md5crypt by mkpasswd', '$1$qahto9B5$leatpKKMp84g4ZFbnbMb6.'],
  ['descrypt by mkpasswd', 'B0UdWgYRlNpPE'],
  ['sha256crypt by openssl', '$5$abcdefgh$ruMep1ijHnJPZbETDNiumskxcX3kN4lzZd5VlsqE7eB'],
  [
    '{SHA256-CRYPT} by Dovecot',
    '{SHA256-CRYPT}$5$rounds=1000$A/T/u07hW6FfzeEk$VP9CYBdAbI2q7F2ypwYGbrsKN6cSSyxDiakahaLx6zA',
  ],
  ['{BLF-CRYPT}', '{BLF-CRYPT}$2y$04$Ig18KkrSsuenbHPSkw1eQuipqdVgg.ic6NXjW1ddf8Dghlc5v2Owi'],
  ['{MD5-CRYPT}', '{MD5-CRYPT}$1$094qv.59$wkWFziUlBDLElicBTUvxs1'],
  ['{DES-CRYPT}', '{DES-CRYPT}Ax7QEP6o2F6Pg'],
  [
    '{SHA512-CRYPT.B64}',
    '{SHA512-CRYPT.B64}JDYkcm91bmRzPTEwMDAkbVFIS3lPbWFjTUkuVWVHMyRVYS8uZGJhTHRXSDhYVGRGNHVwL1d3WHJGU1VwT0FIRUhqL3BmT1JOdnlITy9INDV2cjhVNW1UNGNJSFoxQW5URERJN1hMazF4d2huTjFxTDhyemVnLw==',
  ],
  ['{SSHA}', '{SSHA}yj89NNDFOapUFViAqF8d/W1JF1Z6M0Tw'],
  ['{SSHA.HEX}', '{SSHA.HEX}8f74d7d5c9e0f2dd8eaaee6fe083e9eefde7e9e22aabaff1'],
  ['{SSHA.b64}', '{SSHA.b64}ntmbkkNgsfGVfkVp/qDK8nLqxH65K9xm'],
  ['{SSHA256}', '{SSHA256}6c82tRs9NBsHaWRvmNHFHa/MDCz4BOe8l8cSzCrbQqVlzRBD'],
  [
    '{SSHA512}',
    '{SSHA512}JHXw0dWwU92t3n2xzLG8e8zl9iqrRvpojdQRIaLqkXzLNnb5G5VOkwDZ97q11M4UIRMDjXpSF+mQE0QRiek2CBnDsuo=',
  ],
  ['{PBKDF2}', '{PBKDF2}$1$fFvjIzW3cY2RFpbf$1000$c9afe72c79ff6002c95f314c6ec805ea844e783f'],
  [
    '{PBKDF2.B64}',
    '{PBKDF2.B64}JDEkR1VhSm15TWltWnRLakVkcSQxMDAwJDQ1NzI5MTY0ZjdkODM2NTQ5OWM5OWY1ZTQ4MGZiZjJmOGMwNGZkZWE=',
  ],
  [
    '{SCRAM-SHA-1.HEX}',
    '{SCRAM-SHA-1.HEX}343039362c794550355a7251792b4857386c376b4742366c3530773d3d2c4365487957654d7046564d73645a374851796a3842516b4e3779673d2c5a722f7a364574686239345746646d704953475453364a554978553d',
  ],
  ['{PLAIN.B64}', '{PLAIN.B64}Y29ycmVjdCBob3JzZQ=='],
  ['{PLAIN.base64}', '{PLAIN.base64}Y29ycmVjdCBob3JzZQ=='],
  ['{PLAIN.hex}', '{PLAIN.hex}636f727265637420686f727365'],
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
    if (/^\{PLAIN[.}]/i.test(part)) continue;
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
  '{SSHA}yj89NNDFOapUFViAqF8d/W1JF1Y=',
  '{SSHA256}yj89NNDFOapUFViAqF8d/W1JF1Z6M0Tw',
  '{SSHA}yj89NNDFOapUFViAqF8d/W1JF1Z6M0T',
  '{SSHA}yj89NNDFOapUFViAqF8d/W1JF1Z6M0Tw\n',
  '{SSHA.HEX}yj89NNDFOapUFViAqF8d/W1JF1Z6M0Tw',
  '{SSHA.ROT13}yj89NNDFOapUFViAqF8d/W1JF1Z6M0Tw',
  '{SSHA.}yj89NNDFOapUFViAqF8d/W1JF1Z6M0Tw',
  '{PLAIN.HEX}',
  '{PLAIN.HEX}6',
  '{PLAIN.HEX}00',
  '{PLAIN.B64}YQ',
  '{PLAIN.B64}YQA=',
  '{CRYPT.B64}eA==',
  '{PBKDF2}$1$fFvjIzW3cY2RFpbf$0$c9afe72c79ff6002c95f314c6ec805ea844e783f',
  '{PBKDF2}$1$fFvjIzW3cY2RFpbf$1000$',
  '{PBKDF2}$1$$1000$c9afe72c79ff6002c95f314c6ec805ea844e783f',
  '{PBKDF2}$2$fFvjIzW3cY2RFpbf$1000$c9afe72c79ff6002c95f314c6ec805ea844e783f',
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

test.each([
  '{PBKDF2}$1$fFvjIzW3cY2RFpbf$1000000000$c9afe72c79ff6002c95f314c6ec805ea844e783f',
  '{SCRAM-SHA-256}1000000000,g7Ro+BOQT4Ocl6MUV172sA==,8YDNBSRrMzU3LryCcNXiAjSRsLLwPUDT/9uzn6yvUG0=,zrnXWFAJ9ZSL7w3CFl+RkqErwRwGSDsI0p9vt6E2UXM=',
  '$6$rounds=999999999$abcdefgh$DbXqPck5ABZumVXwcH5eMVHsPZwvQ3jylSxpJmKkZVxcoCiC3N0rPerjHmAqL7r6PK6CIeYnO9.vxpbsevscg/',
  '{SHA256-CRYPT}$5$rounds=99999999$abcdefgh$ue35C0ITbth1b5zVUjrjm2mMmsmMKiodEeH2UV/Hq10',
  '$2b$31$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e',
  '$y$jzT$abcdefgh$Jakf0CHhzdQOivqISxvBXCIRIaxY0Fs1wJGsJSurry/',
  '$y$jFz$abcdefgh$Jakf0CHhzdQOivqISxvBXCIRIaxY0Fs1wJGsJSurry/',
  '$gy$j9Twzzzzz$abcdefgh$E.8/7w02Y2Ed.Uc2CpVIdgpGTbWIWVYm/SoufLuoKA2',
  '$7$zU..../....abcdefghijkl$WvG4PQZwA.hKyf9S73ZyOcvLjsDE/lCZ1LZyLPVZk13',
  '$7$85z.../....abcdefghijkl$WvG4PQZwA.hKyf9S73ZyOcvLjsDE/lCZ1LZyLPVZk13',
  '$7$85....z....abcdefghijkl$WvG4PQZwA.hKyf9S73ZyOcvLjsDE/lCZ1LZyLPVZk13',
  '$sha1$4294967295$abcdefgh$5WnrdgFiVw7wF5odD5qEsDE/Tbbz',
  '$md5,rounds=4294967295$abcdefgh$$xfgM0D6FdZ.kQ03pOoLQ41',
])('%s costs too much to be meant: a bad line, and never tried', async stored => {
  const host = { crypt: vi.fn(async () => undefined) };
  expect(readSecret(stored)).toEqual({ kind: 'unknown', reason: expect.stringMatching(/cost|long/) });
  expect(await verifyPassword(host, bytes('correct horse'), stored)).toBe(false);
  expect(host.crypt).not.toHaveBeenCalled();
});

test('the highest costs that crypt_gensalt(3) makes are none too many', () => {
  const tail = 'Jakf0CHhzdQOivqISxvBXCIRIaxY0Fs1wJGsJSurry/';
  for (const hash of [
    `$y$jFT$abcdefgh$${tail}`,
    `$gy$jFT$abcdefgh$${tail}`,
    `$7$GU..../....abcdefgh$${tail}`,
  ]) {
    expect(readSecret(hash)).toEqual({ kind: 'crypt', hash, wellFormed: true });
  }
});

test.each(STORED)('%s: its stand-in is one of the same kind, and hashes', async (_, stored) => {
  const secret = readSecret(stored);
  expect(costOf(secret)).toBeDefined();
  if (secret.kind !== 'crypt') return;
  const masked = readHash(maskHash(secret.hash));
  expect(costOf(masked)).toBe(costOf(secret));
  expect(await linuxHost.crypt(bytes('x'), maskHash(secret.hash))).toMatch(/^[$_]/);
});

// Password fields as `user` writes them: read back by the server, locked and unlocked, named without the secret.
import { describe, expect, test } from 'vitest';
import type { Crypt } from '../../lib/auth/password.js';
import {
  changedField,
  isLocked,
  lockedField,
  schemeOf,
  unlockedField,
  WRITABLE_SCHEMES,
  writerFor,
} from '../../lib/auth/password-field.js';
import { readSecret } from '../../lib/auth/secret.js';
import { linuxHost } from '../../lib/host/linux.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { verifyPassword } from '../support/passwords.js';

const bytes = (text: string, encoding: BufferEncoding = 'utf8') => Buffer.from(text, encoding);
const MD5 = '$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80';

const PASSWORDS = [
  bytes('correct horse'),
  bytes(' :a:\tb '),
  bytes('{PLAIN}x'),
  bytes('!'),
  bytes('pâté 🐎'),
  bytes('p\xe4\xff', 'latin1'),
  bytes('x'.repeat(72)),
];

describe.each([...WRITABLE_SCHEMES])('%s', (scheme, { cost }) => {
  test('what is written is read, fits into one field, and is salted', async () => {
    for (const password of PASSWORDS) {
      const fields = [0, 1].map(() => writerFor(scheme.toLowerCase(), cost.min)(linuxHost, password));
      for (const field of await Promise.all(fields)) {
        expect(field).toMatch(/^\{[A-Z0-9-]+(\.B64)?\}[!-9;-~][ -9;-~]*$/);
        expect(await verifyPassword(linuxHost, password, field)).toBe(true);
        expect(await verifyPassword(linuxHost, bytes('another'), field)).toBe(false);
        expect(schemeOf(field)).toBe(scheme);
      }
      if (scheme !== 'PLAIN') expect(await fields[0]).not.toBe(await fields[1]);
    }
  });

  test.each([cost.min - 1, cost.max + 1, 1.5, Number.NaN])('cost %d is refused', wrong => {
    expect(() => writerFor(scheme, wrong)).toThrow(RangeError);
  });
});

test('the usual cost of SCRAM keys stands in them', async () => {
  expect(await writerFor('SCRAM-SHA-256')(linuxHost, bytes('x'))).toMatch(/^\{SCRAM-SHA-256\}100000,/);
});

test('a scheme that there is not, a password too long for bcrypt, a host without libcrypt', async () => {
  const write = async (scheme: string, password = 'x', host: Crypt = linuxHost) =>
    writerFor(scheme)(host, bytes(password));
  await expect(write('ROT13')).rejects.toThrow(/^ROT13: choose of SCRAM-SHA-256, /);
  await expect(write('constructor')).rejects.toThrow(RangeError);
  await expect(write('BLF-CRYPT', 'x'.repeat(73))).rejects.toThrow(/first 72 octets/);
  await expect(write('YESCRYPT', 'x', createPortableHost())).rejects.toThrow(/cannot make such hashes/);
});

test.each([MD5, '{PLAIN}x', '{SSHA}yj89NNDFOapUFViAqF8d/W1JF1Z6M0Tw', 'abhfCpXqd4GrI'])(
  'locked, nobody gets in with %s; unlocked, it is what it was',
  async field => {
    const locked = lockedField(field);
    expect(locked).toBe(`!${field}`);
    expect([isLocked(field), isLocked(locked)]).toEqual([false, true]);
    expect(lockedField(locked)).toBe(locked);
    for (const password of ['correct horse', 'x', '!', locked]) {
      expect(await verifyPassword(linuxHost, bytes(password), locked)).toBe(false);
    }
    expect(unlockedField(locked)).toBe(field);
    expect(unlockedField(`!!${field}`)).toBe(field);
    expect(unlockedField(field)).toBe(field);
    expect(schemeOf(locked)).toBe(schemeOf(field));
  },
);

test.each(['', '!', '!!', '*', '!*', 'x', '*LK*', 'nonsense', '!nonsense', '!{MD4}x', '!{PLAIN}'])(
  'C57: there is no password to unlock behind %j',
  async field => {
    expect(unlockedField(field)).toBeUndefined();
    expect(readSecret(lockedField(field)).kind).toBe('locked');
  },
);

test('a lock outlives the password it was put on; who never had one gets in with the first', () => {
  for (const old of [MD5, '{PLAIN}x', '', '*', '!', '!!', '!*', 'x', 'nonsense']) {
    expect(changedField(old, '{PLAIN}new')).toBe('{PLAIN}new');
  }
  for (const old of [`!${MD5}`, `!!${MD5}`, '!{PLAIN}x', '!nonsense', '!$9$x']) {
    expect(changedField(old, '{PLAIN}new')).toBe('!{PLAIN}new');
  }
});

test.each([
  [MD5, 'MD5-CRYPT'],
  [`!${MD5}`, 'MD5-CRYPT'],
  [`{CRYPT}${MD5}`, 'MD5-CRYPT'],
  ['$y$j75$abcdefgh$Jakf0CHhzdQOivqISxvBXCIRIaxY0Fs1wJGsJSurry/', 'YESCRYPT'],
  ['$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e', 'BLF-CRYPT'],
  ['_/...abcdljU8ze5rzsY', 'BSDI-CRYPT'],
  ['abhfCpXqd4GrI', 'DES-CRYPT'],
  ['$9$x', 'CRYPT'],
  ['{ssha.hex}8f74d7d5c9e0f2dd8eaaee6fe083e9eefde7e9e22aabaff1', 'SSHA'],
  ['{PLAIN.B64}eA==', 'PLAIN'],
  ['', '-'],
  ['*', '-'],
  ['secret', 'unknown'],
  ['{MD4}x', 'unknown'],
])('the scheme of %s is %s', (field, scheme) => {
  expect(schemeOf(field)).toBe(scheme);
});

// crypt(3) of the native host: fixed vectors of every method a Debian system makes, and what is no hash.
import { expect, test } from 'vitest';
import { linuxHost } from '../../lib/host/linux.js';
import { createPortableHost } from '../../lib/host/portable.js';

/** Made by libxcrypt 4.4.33 (crypt(3)) from the password `correct horse`. */
const VECTORS = [
  ['yescrypt', '$y$j9T$abcdefghijklmnop$0Hi8KsZH/hAMRN9Bam6ce3nmi5QAIz3R/KeaXG/c7p9'],
  ['gost-yescrypt', '$gy$j9T$abcdefghijklmnop$OoCZc5LoOgQrpI9itgWeephZAERGDeOFMt6RAJyjSP3'],
  ['scrypt', '$7$CU..../....abcdefghijkl$Rls1oBDdUXlGn95FuGZ4k328Pe/zQmohaM/KzKrIoT2'],
  ['bcrypt', '$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e'],
  ['bcrypt 2y', '$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e'],
  [
    'sha512crypt',
    '$6$abcdefgh$yIZAF3gQPvtKZO/9qOJKffAKKbtS3ef3qmwyugk4uWVjX8YZf/GV3A8SkFxEPY0T56CcilGrHKLffBsp6dLMG.',
  ],
  [
    'sha512crypt with rounds',
    '$6$rounds=1234$abcdefgh$fnpIuhaCV2VDdBD8TdaAnkiKvTftprgrPrajgofRE8UidZvrM0dFMpFTXKrhbsgA1Klo2.FFmcL48y9L5aiAP0',
  ],
  ['sha256crypt', '$5$abcdefgh$ruMep1ijHnJPZbETDNiumskxcX3kN4lzZd5VlsqE7eB'],
  ['sha1crypt', '$sha1$1000$abcdefgh$LpGT5uib.TPY6JU14eMS/Z58xRQB'],
  ['SunMD5', '$md5,rounds=10$abcdefgh$$xfgM0D6FdZ.kQ03pOoLQ41'],
  ['md5crypt', '$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80'],
  ['bsdicrypt', '_J9..abcdtIvPUrZYa6w'],
  ['descrypt', 'abhfCpXqd4GrI'],
] as const;
const password = Buffer.from('correct horse');

test.each(VECTORS)('%s', async (_, hash) => {
  expect(await linuxHost.crypt(password, hash)).toBe(hash);
  expect(await linuxHost.crypt(Buffer.from('Correct horse'), hash)).not.toBe(hash);
});

test('octets are hashed as they are, not as text', async () => {
  const latin1 = await linuxHost.crypt(Buffer.from([0xe9]), '$1$abcdefgh$');
  const utf8 = await linuxHost.crypt(Buffer.from('é'), '$1$abcdefgh$');
  expect(latin1).toBe('$1$abcdefgh$bVxtMx7c4crJ4v1Z.rUe8.');
  expect(utf8).toBe('$1$abcdefgh$CTFp3Fa/Fi9ELV/HsoA3p/');
});

test.each([
  '',
  '*',
  '!',
  '!!',
  'x',
  '*0',
  '$9$abc$def',
  '$6',
  '$',
  'é',
  'a b',
  '$6$ab\ncd$',
  '$6$ab\0cd$',
  'a'.repeat(384),
])('C57: %j is no setting', async setting => {
  expect(await linuxHost.crypt(password, setting)).toBeUndefined();
});

test('a password with NUL or over 511 octets is refused', async () => {
  await expect(linuxHost.crypt(Buffer.from('a\0b'), '$1$abcdefgh$')).rejects.toThrow(RangeError);
  await expect(linuxHost.crypt(Buffer.alloc(512, 'a'), '$1$abcdefgh$')).rejects.toThrow(RangeError);
  expect(await linuxHost.crypt(Buffer.alloc(511, 'a'), '$1$abcdefgh$')).toMatch(/^\$1\$abcdefgh\$.{22}$/);
});

test('many at once all get their own answer, the wrong ones among them', async () => {
  const passwords = Array.from({ length: 40 }, (_, n) => Buffer.from(`password ${n}`));
  const settings = ['$1$abcdefgh$', '$5$abcdefgh$', '$9$unknown$'];
  const one = (at: number) => linuxHost.crypt(passwords[at]!, settings[at % 3]!);
  const alone: (string | undefined)[] = [];
  for (let at = 0; at < passwords.length; at += 1) alone.push(await one(at));
  expect(await Promise.all(passwords.map((_, at) => one(at)))).toEqual(alone);
});

test('the portable host knows no method', async () => {
  expect(await createPortableHost().crypt(password, VECTORS[0][1])).toBeUndefined();
});

// SCRAM keys: the passwords of the RFCs' examples, what Dovecot writes, and what is none.
import { createHash, createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import {
  deriveScramKeys,
  matchesScramKeys,
  readScramKeys,
  type ScramHash,
  writeScramKeys,
} from '../../lib/auth/scram-keys.js';
import { costOf, readSecret } from '../../lib/auth/secret.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { verifyPassword } from '../support/passwords.js';

const bytes = (text: string) => Buffer.from(text);
const verify = (password: string, stored: string) =>
  verifyPassword(createPortableHost(), bytes(password), stored);

/** Written by `doveadm pw` of Dovecot 2.3.19. */
const DOVECOT: readonly [ScramHash, string, string][] = [
  [
    'sha256',
    'correct horse',
    '4096,g7Ro+BOQT4Ocl6MUV172sA==,8YDNBSRrMzU3LryCcNXiAjSRsLLwPUDT/9uzn6yvUG0=,zrnXWFAJ9ZSL7w3CFl+RkqErwRwGSDsI0p9vt6E2UXM=',
  ],
  [
    'sha1',
    'correct horse',
    '4096,gQJwJyGaE6mIGYTY1uXNaQ==,PRWTlUA4ZkCdyi11ufle5VeSj6k=,JcyB/fYVqDWMjVCLSYKNHtITR5o=',
  ],
  [
    'sha256',
    'pâte',
    '4096,wCWrV2BgEi/1NakbLTV4Ww==,HdhbcuuiS+ZaS93OQs0qQvxqUokXBAxkJv5BQHhLTVU=,nPcDanWS0TwIYEX/xSdUbqNoRvOEr0SLj2GnOWvb5MQ=',
  ],
  ['sha1', 'pâte', '4096,7UWnj2c/yUPzXxTczjRnjw==,rFBzD5xWYcFjTKMr+8TDqhmoFaQ=,7pcfOB/T1W44IkSrr5BPb2fxcYg='],
];
const SHA256 = DOVECOT[0]![2];

test.each(DOVECOT)('%s of %s by Dovecot: read, written, checked', async (hash, password, text) => {
  const keys = readScramKeys(hash, text)!;
  expect(writeScramKeys(keys)).toBe(text);
  expect(await deriveScramKeys(bytes(password), keys)).toEqual(keys);
  expect(await matchesScramKeys(bytes(password), keys)).toBe(true);
  expect(await matchesScramKeys(bytes(`${password} `), keys)).toBe(false);
  const scheme = hash === 'sha1' ? '{SCRAM-SHA-1}' : '{scram-sha-256}';
  expect(readSecret(scheme + text)).toEqual({ kind: 'scram', ...keys });
  expect(await verify(password, scheme + text)).toBe(true);
  for (const wrong of ['', 'x', text, scheme + text]) expect(await verify(wrong, scheme + text)).toBe(false);
});

// RFC 5802 §5 and RFC 7677 §3: the exchange of `user` with `pencil`.
test.each([
  {
    hash: 'sha1',
    salt: 'QSXCR+Q6sek8bf92',
    message:
      'n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j',
    proof: 'v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    signature: 'rmF9pqV8S7suAoZWja4dJRkFsKQ=',
  },
  {
    hash: 'sha256',
    salt: 'W22ZaJ0SNY7soEsUEjb6gQ==',
    message:
      'n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
    proof: 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    signature: '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  },
] as const)('$hash: the example exchange of the RFC proves our keys', async example => {
  const { hash, message } = example;
  const salt = Buffer.from(example.salt, 'base64');
  const keys = await deriveScramKeys(bytes('pencil'), { hash, salt, iterations: 4096 });
  const sign = (key: Uint8Array) => createHmac(hash, key).update(message).digest();
  expect(sign(keys.serverKey).toString('base64')).toBe(example.signature);
  const signature = sign(keys.storedKey);
  const clientKey = Buffer.from(example.proof, 'base64').map((octet, at) => octet ^ signature[at]!);
  expect(createHash(hash).update(clientKey).digest()).toEqual(keys.storedKey);
});

test.each([
  '',
  '4096',
  SHA256.slice(0, -1),
  SHA256.replace('4096', '0'),
  SHA256.replace('4096', '-1'),
  SHA256.replace('4096', '04096'),
  SHA256.replace('4096', '4096.5'),
  SHA256.replace('4096', '1e3'),
  SHA256.replace('4096', '1000000000'),
  SHA256.replace('4096', '5000001'),
  SHA256.replace('g7Ro+BOQT4Ocl6MUV172sA==', ''),
  SHA256.replace('g7Ro+BOQT4Ocl6MUV172sA==', 'g7Ro+BOQT4Ocl6MUV172sB=='),
  SHA256.replace('==', ''),
  SHA256.replace('+', '-'),
  SHA256.replace(',', ', '),
  `${SHA256},`,
  `${SHA256},x`,
  DOVECOT[1]![2],
])('C57: %j is no text of SHA-256 keys, and lets nobody in', async text => {
  expect(readScramKeys('sha256', text)).toBeUndefined();
  expect(readSecret(`{SCRAM-SHA-256}${text}`).kind).toBe('unknown');
  expect(await verify('correct horse', `{SCRAM-SHA-256}${text}`)).toBe(false);
});

test('the stand-in for unknown users may be SCRAM keys: their cost is known', () => {
  expect(costOf(readSecret(`{SCRAM-SHA-256}${SHA256}`))).toBe('scram sha256 4096');
});

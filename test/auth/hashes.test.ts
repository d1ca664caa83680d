// What the host's own programs write is read: `doveadm pw`, mkpasswd and openssl make a hash at this moment,
// of passwords with octets that go wrong.
import { expect } from 'vitest';
import { linuxHost } from '../../lib/host/linux.js';
import { mustRun, testWith } from '../clients/programs.js';
import { verifyPassword } from '../support/passwords.js';

const PASSWORDS = ['correct horse', ' a:b{PLAIN}$1$, ', 'pâté 🐎', 'x'.repeat(71)];

/** Cost as `doveadm pw -r` wants it, where the default would take long. */
const SCHEMES: readonly (readonly [scheme: string, ...cost: string[]])[] = [
  ['PLAIN'],
  ['SCRAM-SHA-256'],
  ['SCRAM-SHA-1'],
  ['SHA512-CRYPT', '-r', '1000'],
  ['SHA256-CRYPT', '-r', '1000'],
  ['MD5-CRYPT'],
  ['BLF-CRYPT', '-r', '4'],
  ['SSHA'],
  ['SSHA256'],
  ['SSHA512'],
  ['PBKDF2', '-r', '1000'],
];
const SUFFIXES = ['', '.b64', '.hex'];

const METHODS = [
  'yescrypt',
  'gost-yescrypt',
  'scrypt',
  'bcrypt',
  'bcrypt-a',
  'sha512crypt',
  'sha256crypt',
  'md5crypt',
];

async function isRead(stored: string, password: string): Promise<void> {
  const verify = (text: string) => verifyPassword(linuxHost, Buffer.from(text), stored);
  expect(await verify(password), stored).toBe(true);
  expect(await verify(`X${password}`), stored).toBe(false);
  expect(await verify(''), stored).toBe(false);
}

for (const [scheme, ...cost] of SCHEMES) {
  testWith(['doveadm'], `doveadm pw -s ${scheme}, with every encoding`, async () => {
    for (const suffix of SUFFIXES) {
      for (const password of PASSWORDS) {
        const output = await mustRun('doveadm', ['pw', '-s', scheme + suffix, ...cost, '-p', password]);
        await isRead(output.replace(/\n$/, ''), password);
      }
    }
  });
}

for (const method of METHODS) {
  testWith(['mkpasswd'], `mkpasswd -m ${method}`, async () => {
    for (const password of PASSWORDS.slice(0, 2)) {
      await isRead((await mustRun('mkpasswd', ['-m', method, password])).trim(), password);
    }
  });
}

// Eight characters count of DES.
for (const method of ['descrypt', 'bsdicrypt']) {
  testWith(['mkpasswd'], `mkpasswd -m ${method}`, async () => {
    await isRead((await mustRun('mkpasswd', ['-m', method, 'correct horse'])).trim(), 'correct horse');
  });
}

for (const method of ['-1', '-5', '-6']) {
  testWith(['openssl'], `openssl passwd ${method}`, async () => {
    await isRead((await mustRun('openssl', ['passwd', method, 'correct horse'])).trim(), 'correct horse');
  });
}

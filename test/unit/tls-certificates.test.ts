/** Certificates: which are taken, what is said of those that are not, and what the log tells. */
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { EX } from '../../lib/errors.js';
import { formatLine, type Log } from '../../lib/log.js';
import { Certificates } from '../../lib/tls/certificates.js';
import { checkIdentity } from '../../lib/tls/identity.js';
import { readPemPair } from '../../lib/tls/pem-files.js';
import { scratchDir } from '../support/mailbox.js';
import { ENCRYPTED_KEY, filesOf, pairOf } from '../support/tls/certificates.js';

function withLog(...names: Parameters<typeof pairOf>[0][]) {
  const logged: string[] = [];
  const log: Log = {
    write: (level, who, event, fields) => logged.push(`${level} ${formatLine(who, event, fields)}`),
  };
  const pairs = names.map(pairOf);
  const certificates = new Certificates({ pairs, minVersions: ['TLSv1.2'], handshakeTimeout: 1000, log });
  return { certificates, logged };
}

test.each([
  ['rsa', ['localhost'], 'rsa'],
  ['ec', ['localhost'], 'ec'],
  ['other', ['pop.example.net', '*.example.com'], 'ec'],
] as const)('%s: its names and the kind of its key', (name, names, keyType) => {
  expect(checkIdentity(readPemPair(filesOf(name)))).toMatchObject({ names, keyType });
});

test('certificate and key may be in one file', () => {
  const file = join(scratchDir(), 'both.pem');
  const { cert, key } = pairOf('ec');
  writeFileSync(file, Buffer.concat([key, cert]), { mode: 0o600 });
  expect(checkIdentity(readPemPair({ cert: file, key: file })).names).toEqual(['localhost']);
});

test.each<[string, (dir: string) => { cert: string; key: string }, number, RegExp]>([
  [
    'a certificate that is not there',
    dir => ({ ...filesOf('ec'), cert: join(dir, 'none') }),
    EX.NOINPUT,
    /^certificate \S+\/none: no such file$/,
  ],
  [
    'a key that is a directory',
    dir => ({ ...filesOf('ec'), key: dir }),
    EX.CONFIG,
    /^private key \S+: not a PEM file$/,
  ],
  [
    'a key that is /dev/zero',
    () => ({ ...filesOf('ec'), key: '/dev/zero' }),
    EX.CONFIG,
    /^private key \/dev\/zero: not a PEM file$/,
  ],
  [
    'garbage for a certificate',
    dir => {
      writeFileSync(join(dir, 'x'), 'garbage');
      return { ...filesOf('ec'), cert: join(dir, 'x') };
    },
    EX.CONFIG,
    /^certificate \S+\/x: not in PEM form$/,
  ],
  [
    'a certificate for a key',
    () => ({ cert: filesOf('ec').cert, key: filesOf('ec').cert }),
    EX.CONFIG,
    /^private key \S+\/ec\.crt: not a key in PEM form$/,
  ],
  [
    'an encrypted key',
    () => ({ cert: filesOf('ec').cert, key: ENCRYPTED_KEY }),
    EX.CONFIG,
    /^private key \S+\/encrypted\.key: is encrypted/,
  ],
  [
    'the key of another',
    () => ({ cert: filesOf('ec').cert, key: filesOf('rsa').key }),
    EX.CONFIG,
    /^private key \S+\/rsa\.key is not that of certificate \S+\/ec\.crt$/,
  ],
])('%s is refused by name', (_, make, exitCode, message) => {
  const files = make(scratchDir());
  const wrong = () => checkIdentity(readPemPair(files));
  expect(wrong).toThrow(message);
  expect(wrong).toThrow(expect.objectContaining({ name: 'UsageError', exitCode }));
});

test('a key that everybody can read is mentioned', () => {
  const dir = scratchDir();
  mkdirSync(join(dir, 'tls'));
  const files = { cert: filesOf('ec').cert, key: join(dir, 'tls/key') };
  copyFileSync(filesOf('ec').key, files.key);
  chmodSync(files.key, 0o644);
  const { certificates, logged } = withLog('rsa');
  certificates.use([readPemPair(files)]);
  expect(logged.at(-1)).toMatch(
    /^warn - key-exposed key=\S+ reason="everybody can read it" remedy="chmod o= /,
  );
  chmodSync(files.key, 0o640);
  expect(readPemPair(files).exposed).toBe(false);
});

test('the end of a certificate is foretold, and then stated', () => {
  const { certificates, logged } = withLog('ec');
  const ends = checkIdentity(pairOf('ec')).validTo.getTime();
  const day = 86_400_000;
  const said = (now: number) => {
    logged.length = 0;
    certificates.warn(now);
    return logged.join();
  };
  expect(said(ends - 14 * day - 1000)).toBe('');
  expect(said(ends - 14 * day + 1000)).toMatch(/^warn - certificate-expires cert=\S+ expires=\S+ days=13$/);
  expect(said(ends - 1000)).toMatch(/ days=0$/);
  expect(said(ends + 1000)).toMatch(/^error - certificate-expired cert=\S+\/ec\.crt expires=/);
});

test('what it says when it starts to use one', () => {
  const { logged } = withLog('other');
  expect(logged).toEqual([
    expect.stringMatching(
      /^info - certificate cert=\S+\/other\.crt names="pop\.example\.net \*\.example\.com" key=ec expires=2\d{3}-\d\d-\d\d$/,
    ),
  ]);
});

// The cache of verified logins: what it spares, and that it lets in nobody whom the check would not.
import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { Credentials } from '../../lib/auth/credentials.js';
import { readSecret } from '../../lib/auth/secret.js';
import { SystemAccounts } from '../../lib/auth/system-accounts.js';
import { UsersFile } from '../../lib/auth/users-file.js';
import { parseUsers } from '../../lib/auth/users-lines.js';
import { VerifiedLogins } from '../../lib/auth/verified-logins.js';
import { linuxHost } from '../../lib/host/linux.js';
import { scratchDir } from '../support/mailbox.js';
import { runs } from '../support/runs.js';

const bytes = (text: string) => Buffer.from(text);
const MD5 = '$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80';
const PASSWORD = bytes('correct horse');

const STORED = [
  MD5,
  'abhfCpXqd4GrI',
  '{SCRAM-SHA-1}4096,gQJwJyGaE6mIGYTY1uXNaQ==,PRWTlUA4ZkCdyi11ufle5VeSj6k=,JcyB/fYVqDWMjVCLSYKNHtITR5o=',
  '{PBKDF2}$1$fFvjIzW3cY2RFpbf$1000$c9afe72c79ff6002c95f314c6ec805ea844e783f',
];

/** A host that counts what it hashes. */
function countingHost() {
  return { crypt: vi.fn(linuxHost.crypt) };
}

function cache(lifetime = 1000, maxEntries?: number) {
  const clock = { now: 0 };
  const options = { lifetime, now: () => clock.now, ...(maxEntries === undefined ? {} : { maxEntries }) };
  return { clock, verified: new VerifiedLogins(options) };
}

function users(file: string, host: { crypt: typeof linuxHost.crypt }, verified: VerifiedLogins) {
  const credentials = new Credentials(parseUsers(bytes(file)).users, host, undefined, verified);
  return async (user: string, password: Uint8Array) =>
    'account' in (await credentials.checkPassword(bytes(user), password));
}

afterEach(() => vi.useRealTimers());

test('a right password is hashed once, until its time is over; using it does not prolong it', async () => {
  const { clock, verified } = cache();
  const host = countingHost();
  const check = users(`alice:${MD5}\n`, host, verified);
  for (const at of [0, 1, 500, 999]) {
    clock.now = at;
    expect(await check('alice', PASSWORD)).toBe(true);
  }
  expect(host.crypt).toHaveBeenCalledTimes(1);
  clock.now = 1000;
  expect(await check('alice', PASSWORD)).toBe(true);
  expect(host.crypt).toHaveBeenCalledTimes(2);
});

test('C43: wrong passwords are hashed each time, are never remembered and push nothing out', async () => {
  const { verified } = cache();
  const host = countingHost();
  const check = users(`alice:${MD5}\n`, host, verified);
  expect(await check('alice', PASSWORD)).toBe(true);
  for (let attempt = 0; attempt < 10; attempt += 1) expect(await check('alice', bytes('wrong'))).toBe(false);
  expect(host.crypt).toHaveBeenCalledTimes(11);
  expect(await check('alice', PASSWORD)).toBe(true);
  expect(host.crypt).toHaveBeenCalledTimes(11);
});

test('C54: the password of one user, remembered, is none of another, even where both have one hash', async () => {
  const { verified } = cache();
  const host = countingHost();
  const check = users(`alice:${MD5}\nbob:${MD5}\ncarol:{PLAIN}c\n`, host, verified);
  expect(await check('alice', PASSWORD)).toBe(true);
  expect(await check('bob', bytes('x'))).toBe(false);
  expect(await check('carol', PASSWORD)).toBe(false);
  expect(await check('mallory', PASSWORD)).toBe(false);
  expect(verified.has('bob', readSecret(MD5), PASSWORD)).toBe(false);
  expect(await check('bob', PASSWORD)).toBe(true);
  expect(verified.size).toBe(2);
});

test.each(STORED)('%s: remembered for this stored secret and no other', async stored => {
  const { verified } = cache();
  const secret = readSecret(stored);
  verified.remember('alice', secret, PASSWORD);
  expect(verified.has('alice', secret, PASSWORD)).toBe(true);
  expect(verified.has('alice', secret, bytes('correct horse '))).toBe(false);
  for (const other of [...STORED.filter(text => text !== stored), '!', '{PLAIN}correct horse', 'x', '']) {
    expect(verified.has('alice', readSecret(other), PASSWORD)).toBe(false);
  }
  // Another salt, another key, another count: one character of the secret.
  for (let at = stored.indexOf('}') + 1; at < stored.length; at += 1) {
    const changed = stored.slice(0, at) + (stored[at] === '1' ? '2' : '1') + stored.slice(at + 1);
    expect(verified.has('alice', readSecret(changed), PASSWORD)).toBe(false);
  }
});

test('no cutting of name, secret and password makes one login another', () => {
  const octets = fc.string({ unit: fc.constantFrom('a', '$', '1', '\x01'), maxLength: 4 });
  const login = fc.tuple(octets, octets, octets);
  fc.assert(
    fc.property(login, login, (a, b) => {
      const { verified } = cache();
      const secret = (hash: string) => ({ kind: 'crypt', hash, wellFormed: true }) as const;
      verified.remember(a[0], secret(a[1]), bytes(a[2]));
      expect(verified.has(b[0], secret(b[1]), bytes(b[2]))).toBe(a.join('\0') === b.join('\0'));
    }),
    runs(19790101, 100),
  );
});

test('what is cheaper to check is not remembered; a lifetime of 0 remembers nothing', () => {
  const { verified } = cache();
  for (const stored of ['{PLAIN}correct horse', '{SSHA}yj89NNDFOapUFViAqF8d/W1JF1Z6M0Tw', '!', 'x']) {
    verified.remember('alice', readSecret(stored), PASSWORD);
    expect(verified.has('alice', readSecret(stored), PASSWORD)).toBe(false);
  }
  const off = cache(0).verified;
  off.remember('alice', readSecret(MD5), PASSWORD);
  expect(off.has('alice', readSecret(MD5), PASSWORD)).toBe(false);
  expect(verified.size + off.size).toBe(0);
});

test('it is bounded: the oldest goes first, one entry a user', () => {
  const { verified } = cache(1000, 3);
  const secret = readSecret(MD5);
  for (const user of ['a', 'b', 'c', 'a', 'd']) verified.remember(user, secret, PASSWORD);
  for (let n = 0; n < 100; n += 1) verified.remember('d', secret, bytes(`also right ${n}`));
  expect(verified.size).toBe(3);
  expect(['a', 'b', 'c', 'd'].map(user => verified.has(user, secret, PASSWORD))).toEqual([
    true,
    false,
    true,
    false,
  ]);
});

test('expired entries do not stay in memory, even when nobody logs in any more', () => {
  vi.useFakeTimers();
  const verified = new VerifiedLogins({ lifetime: 1000 });
  verified.remember('alice', readSecret(MD5), PASSWORD);
  vi.advanceTimersByTime(600);
  verified.remember('bob', readSecret(MD5), PASSWORD);
  expect(verified.size).toBe(2);
  vi.advanceTimersByTime(1400);
  expect(verified.size).toBe(0);
});

describe('with backends whose files change', () => {
  /** Its password is `other`; made by crypt(3) of libxcrypt. */
  const other = () => linuxHost.crypt(bytes('other'), '$1$zyxwvuts$');

  test('users file: changed, locked, removed: at once, and what was right is right no more', async () => {
    const path = join(scratchDir(), 'users');
    const replace = (content: string) => {
      writeFileSync(`${path}.new`, content);
      renameSync(`${path}.new`, path);
    };
    replace(`alice:${MD5}\n`);
    const host = countingHost();
    const log = { write: () => {} };
    const file = await UsersFile.open({ path, host, log, watch: false, cacheLifetime: 60_000 });
    onTestFinished(() => file.close());
    const check = async (password: Uint8Array) =>
      'account' in (await file.checkPassword(bytes('alice'), password));
    expect([await check(PASSWORD), await check(PASSWORD)]).toEqual([true, true]);
    // A comment of somebody else's does not cost anybody a hash.
    appendFileSync(path, '# comment\n');
    expect(await check(PASSWORD)).toBe(true);
    expect(host.crypt).toHaveBeenCalledTimes(1);
    replace(`alice:${await other()}\n`);
    expect([await check(PASSWORD), await check(bytes('other'))]).toEqual([false, true]);
    replace(`alice:!${MD5}\n`);
    expect([await check(PASSWORD), await check(bytes('other'))]).toEqual([false, false]);
    replace('bob:!\n');
    expect(await check(PASSWORD)).toBe(false);
  });

  test('system accounts: a new password, an expired account, a lock count at once', async () => {
    const dir = scratchDir();
    const [passwd, shadow] = [join(dir, 'passwd'), join(dir, 'shadow')];
    writeFileSync(passwd, 'alice:x:1000:1000::/:/bin/sh\n');
    const entry = (hash: string, expire = '') =>
      writeFileSync(shadow, `alice:${hash}:19000:0:99999:7::${expire}:\n`);
    const host = countingHost();
    const system = new SystemAccounts({
      host,
      passwd,
      shadow,
      nologin: join(dir, 'nologin'),
      cacheLifetime: 60_000,
    });
    const check = async (password: Uint8Array) =>
      'account' in (await system.checkPassword(bytes('alice'), password));
    entry(MD5);
    expect([await check(PASSWORD), await check(PASSWORD)]).toEqual([true, true]);
    expect(host.crypt).toHaveBeenCalledTimes(1);
    entry(MD5, '1');
    expect(await check(PASSWORD)).toBe(false);
    entry(`!${MD5}`);
    expect(await check(PASSWORD)).toBe(false);
    entry((await other())!);
    expect([await check(PASSWORD), await check(bytes('other'))]).toEqual([false, true]);
  });
});

test.skipIf(process.platform !== 'linux')('leaves no copy of a password in memory', () => {
  const { verified } = cache();
  const secret = readSecret(MD5);
  // Memory of its own each time, which is wiped.
  const password = () => {
    const octets = Buffer.allocUnsafeSlow(64);
    for (const i of octets.keys()) octets[i] = 33 + ((i * i * 7 + i * 13) % 90);
    return octets;
  };
  const half = password().subarray(32);
  const ask = () => {
    const asked = password();
    verified.has('alice', secret, asked);
    asked.fill(0);
  };
  const first = password();
  verified.remember('alice', secret, first);
  const before = copiesInMemory(half);
  for (let i = 0; i < 300; i++) ask();
  expect(verified.has('alice', secret, first)).toBe(true);
  expect(copiesInMemory(half) - before).toBeLessThan(100);
});

/** How often octets are in what this process may write, whether it still uses that or not. */
function copiesInMemory(octets: Buffer): number {
  let copies = 0;
  const memory = openSync('/proc/self/mem', 'r');
  const chunk = Buffer.allocUnsafeSlow(1024 * 1024);
  for (const line of readFileSync('/proc/self/maps', 'latin1').split('\n')) {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
    if (from === undefined || to === undefined) continue;
    const end = Number.parseInt(to, 16);
    for (let at = Number.parseInt(from, 16); at < end; at += chunk.length) {
      try {
        const got = chunk.subarray(0, readSync(memory, chunk, 0, Math.min(chunk.length, end - at), at));
        for (let i = got.indexOf(octets); i >= 0; i = got.indexOf(octets, i + 1)) copies++;
      } catch {
        break; // Reserved only.
      }
    }
  }
  closeSync(memory);
  return copies;
}

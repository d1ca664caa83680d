/** Proofs against stored passwords: the examples of the RFCs, who can use what, and what nobody can tell. */
import { createHash, createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { preparePassword } from '../../lib/auth/prepare-password.js';
import { checkScram, Proofs } from '../../lib/auth/proofs.js';
import { ownSaltKey, storedSaltKey } from '../../lib/auth/salts.js';
import { deriveScramKeys, writeScramKeys } from '../../lib/auth/scram-keys.js';
import { StaticUsers } from '../../lib/auth/static-users.js';
import { parseUsers } from '../../lib/auth/users-lines.js';
import { Unavailable } from '../../lib/errors.js';
import { linuxHost } from '../../lib/host/linux.js';
import type { ProofVerdict } from '../../lib/pop3/ports.js';
import { verifyPassword } from '../support/passwords.js';
import { ScramClient } from '../support/scram-client.js';

const bytes = (text: string) => Buffer.from(text);
const SHA512 =
  '$6$rounds=1000$abcdefgh$DbXqPck5ABZumVXwcH5eMVHsPZwvQ3jylSxpJmKkZVxcoCiC3N0rPerjHmAqL7r6PK6CIeYnO9.vxpbsevscg/';

/** The password field of keys for `password`, over its octets as they are. */
async function keys(
  hash: 'sha1' | 'sha256',
  password: string,
  iterations = 1000,
  salt = bytes('0123456789abcdef'),
) {
  const derived = await deriveScramKeys(bytes(password), { hash, iterations, salt });
  return `{SCRAM-SHA-${hash === 'sha1' ? '1' : '256'}}${writeScramKeys(derived)}`;
}

const proofs = (file: string, key = ownSaltKey()) => new Proofs(parseUsers(Buffer.from(file)).users, key);

type Prover = Pick<StaticUsers, 'scramChallenge' | 'checkProof'>;

async function challengeOf(users: Prover, client: ScramClient, user: string): Promise<string> {
  const { salt, iterations } = await users.scramChallenge(client.method, bytes(user));
  return `r=abc,s=${Buffer.from(salt).toString('base64')},i=${iterations}`;
}

async function byScram(users: Prover, hash: 'sha1' | 'sha256', user: string, password: string | Uint8Array) {
  const client = new ScramClient(hash, user, password);
  const proof = client.proof(await challengeOf(users, client, user));
  const verdict = await users.checkProof({ method: client.method, user: bytes(user), ...proof });
  const signature =
    'serverSignature' in verdict ? Buffer.from(verdict.serverSignature!).toString('base64') : '';
  return { verdict, mutual: signature !== '' && signature === client.expected };
}

const cram = (user: string, password: string, challenge = '<1@h>') => ({
  method: 'CRAM-MD5' as const,
  user: bytes(user),
  challenge,
  digest: createHmac('md5', password).update(challenge).digest('hex'),
});

const apop = (user: string, password: string, challenge = '<1@h>') => ({
  method: 'APOP' as const,
  user: bytes(user),
  challenge,
  digest: createHash('md5').update(`${challenge}${password}`).digest('hex'),
});

describe('the examples of the RFCs', () => {
  test('RFC 1939 §7 (APOP)', async () => {
    const users = new StaticUsers({ mrose: 'tanstaaf' });
    const challenge = '<1896.697170952@dbc.mtview.ca.us>';
    const digest = 'c4c9334bac560ecc979e58001b3e22fb';
    const check = (user: string, over: string) =>
      users.checkProof({ method: 'APOP', user: bytes(user), challenge: over, digest });
    expect(await check('mrose', challenge)).toEqual({ account: { user: 'mrose' } });
    expect(await check('mrose', '<other@host>')).toEqual({ refused: 'wrong proof' });
    expect(await check('rose', challenge)).toEqual({ refused: 'unknown user' });
  });

  test('RFC 2195 §2 (CRAM-MD5)', async () => {
    const users = new StaticUsers({ tim: 'tanstaaftanstaaf' });
    const challenge = '<1896.697170952@postoffice.reston.mci.net>';
    const digest = 'b913a602c7eda7a495b4e6e7334d3890';
    const check = (user: string, over: string) =>
      users.checkProof({ method: 'CRAM-MD5', user: bytes(user), challenge: over, digest });
    expect(await check('tim', challenge)).toEqual({ account: { user: 'tim' } });
    expect(await check('tim', '<other@host>')).toEqual({ refused: 'wrong proof' });
    expect(await check('tom', challenge)).toEqual({ refused: 'unknown user' });
  });

  test.each([
    [
      'RFC 5802 §5',
      'sha1',
      'n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j',
      'QSXCR+Q6sek8bf92',
      'v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
      'rmF9pqV8S7suAoZWja4dJRkFsKQ=',
    ],
    [
      'RFC 7677 §3',
      'sha256',
      'n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
      'W22ZaJ0SNY7soEsUEjb6gQ==',
      'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
      '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
    ],
  ] as const)('%s', async (_, hash, message, salt, proof, signature) => {
    const stored = await deriveScramKeys(bytes('pencil'), {
      hash,
      iterations: 4096,
      salt: Buffer.from(salt, 'base64'),
    });
    const attempt = { authMessage: bytes(message), clientProof: Buffer.from(proof, 'base64') };
    expect(checkScram(stored, attempt)).toEqual(Buffer.from(signature, 'base64'));
    expect(checkScram(stored, { ...attempt, authMessage: bytes(`${message}x`) })).toBe(false);
    for (const clientProof of [
      new Uint8Array(),
      attempt.clientProof.subarray(1),
      Buffer.alloc(proof.length),
    ]) {
      expect(checkScram(stored, { ...attempt, clientProof })).toBe(false);
    }
  });
});

describe('what users can prove', () => {
  test.each([
    ['nobody', '', [], []],
    ['plain passwords', 'a:{PLAIN}a\nb:{PLAIN}b\n', 'SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 APOP', ''],
    ['keys', 'a:KEYS256\nb:KEYS256\n', 'SCRAM-SHA-256', ''],
    ['plain passwords and keys', 'a:KEYS256\nb:{PLAIN}b\n', 'SCRAM-SHA-256', 'SCRAM-SHA-1 CRAM-MD5 APOP'],
    ['keys of two kinds', 'a:KEYS256\nb:KEYS1\n', '', 'SCRAM-SHA-256 SCRAM-SHA-1'],
    ['a hash among them', `a:{PLAIN}a\nb:${SHA512}\n`, '', 'SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 APOP'],
    ['hashes', `b:${SHA512}\n`, '', ''],
    ['locked users do not count', `a:KEYS256\nb:!${SHA512}\nc:*\nd:\ne:{ODD}x\n`, 'SCRAM-SHA-256', ''],
  ])('%s', async (_, file, all, more) => {
    const written = file
      .replaceAll('KEYS256', await keys('sha256', 'x'))
      .replaceAll('KEYS1', await keys('sha1', 'x'));
    const { provable } = proofs(written);
    const words = (text: string | readonly string[]) =>
      text
        .toString()
        .split(' ')
        .filter(word => word !== '');
    expect([...provable.all]).toEqual(words(all));
    expect([...provable.some].sort()).toEqual([...words(all), ...words(more)].sort());
  });

  test('one user, each kind of password, each method: in by what it does for, refused by the rest', async () => {
    const users = proofs(
      [
        'plain:{PLAIN}sesame',
        `k256:${await keys('sha256', 'sesame')}`,
        `k1:${await keys('sha1', 'sesame')}`,
        `hash:${SHA512}`,
        'locked:!{PLAIN}sesame',
        'none:',
      ].join('\n'),
    );
    const by = {
      apop: async (user: string, password: string) => users.checkProof(apop(user, password)),
      cram: async (user: string, password: string) => users.checkProof(cram(user, password)),
      sha1: async (user: string, password: string) => (await byScram(users, 'sha1', user, password)).verdict,
      sha256: async (user: string, password: string) =>
        (await byScram(users, 'sha256', user, password)).verdict,
    };
    const isIn = (verdict: ProofVerdict) => 'account' in verdict;
    const works = new Map<string, string[]>();
    for (const user of ['plain', 'k256', 'k1', 'hash', 'locked', 'none', 'nobody']) {
      works.set(user, []);
      for (const [name, check] of Object.entries(by)) {
        expect(isIn(await check(user, 'wrong')), `${user} ${name}`).toBe(false);
        expect(isIn(await check(user, '')), `${user} ${name}`).toBe(false);
        expect(isIn(await check(user, SHA512)), `${user} ${name}`).toBe(false);
        if (isIn(await check(user, 'sesame'))) works.get(user)!.push(name);
      }
    }
    expect(Object.fromEntries(works)).toEqual({
      plain: ['apop', 'cram', 'sha1', 'sha256'],
      k256: ['sha256'],
      k1: ['sha1'],
      hash: [],
      locked: [],
      none: [],
      nobody: [],
    });
  });

  test('C43: after any number of failures in any order, wrong is refused and right is let in', async () => {
    const users = proofs(`alice:{PLAIN}a\nbob:${await keys('sha256', 'b')}\n`);
    const attempts = Array.from({ length: 10 }, () => [
      users.checkProof(cram('alice', 'wrong')),
      users.checkProof(cram('bob', 'b')),
      users.checkProof(apop('alice', '')),
      byScram(users, 'sha256', 'bob', 'a').then(({ verdict }) => verdict),
      byScram(users, 'sha1', 'mallory', 'a').then(({ verdict }) => verdict),
    ]).flat();
    for (const verdict of await Promise.all(attempts)) expect(verdict).toHaveProperty('refused');
    expect(await users.checkProof(cram('alice', 'wrong'))).toHaveProperty('refused');
    expect(await users.checkProof(cram('alice', 'a'))).toHaveProperty('account');
    expect((await byScram(users, 'sha256', 'bob', 'b')).mutual).toBe(true);
    expect((await byScram(users, 'sha256', 'bob', 'a')).verdict).toHaveProperty('refused');
  });

  test.each(['', 'x', 'B913A602C7EDA7A495B4E6E7334D3890', '0'.repeat(31), '0'.repeat(33)])(
    'the digest %j is wrong',
    async digest => {
      const users = new StaticUsers({ tim: 'tanstaaftanstaaf' });
      for (const method of ['APOP', 'CRAM-MD5'] as const) {
        const verdict = await users.checkProof({ method, user: bytes('tim'), challenge: '<1@h>', digest });
        expect(verdict).toEqual({ refused: 'wrong proof' });
      }
    },
  );
});

describe('C47: a challenge tells nothing of its user', () => {
  const methods = ['SCRAM-SHA-1', 'SCRAM-SHA-256'] as const;
  const names = ['alice', 'bob', 'carol', 'mallory', '', '../x', 'x'.repeat(300), 'al\xefce', '__proto__'];

  test.each(methods)(
    '%s: the form is that of most users, the salt each time the same, for each another',
    async method => {
      const hash = method === 'SCRAM-SHA-1' ? 'sha1' : 'sha256';
      const stored = await keys(hash, 'a', 2000, bytes('twelve bytes'));
      const users = proofs(`alice:${stored}\ndave:${stored}\nbob:{PLAIN}b\ncarol:${SHA512}\n`);
      const salts = new Set<string>();
      for (const name of names) {
        const challenge = await users.scramChallenge(method, Buffer.from(name, 'latin1'));
        expect(challenge.iterations).toBe(2000);
        expect(challenge.salt).toHaveLength(12);
        expect(await users.scramChallenge(method, Buffer.from(name, 'latin1'))).toEqual(challenge);
        salts.add(Buffer.from(challenge.salt).toString('hex'));
      }
      expect(salts.size).toBe(names.length);
    },
  );

  test('without stored keys: what the RFCs ask for', async () => {
    const { salt, iterations } = await proofs('bob:{PLAIN}b\n').scramChallenge('SCRAM-SHA-256', bytes('bob'));
    expect(iterations).toBe(4096);
    expect(salt).toHaveLength(16);
  });

  test("the salts are those of the installation, whichever process is asked; the key is nobody else's", async () => {
    const dir = mkdtempSync(join(tmpdir(), 'mbox-pop3d-test-'));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    // At once, as two processes of inetd would.
    const all = await Promise.all(Array.from({ length: 8 }, () => storedSaltKey(dir)()));
    expect(new Set(all.map(key => Buffer.from(key).toString('hex'))).size).toBe(1);
    expect(readFileSync(join(dir, '.salt-key'))).toEqual(all[0]);
    expect(statSync(join(dir, '.salt-key')).mode & 0o777).toBe(0o600);
    const salts = await Promise.all(
      [storedSaltKey(dir), storedSaltKey(dir), ownSaltKey()].map(
        async key => (await proofs('', key).scramChallenge('SCRAM-SHA-1', bytes('mallory'))).salt,
      ),
    );
    expect(salts[0]).toEqual(salts[1]);
    expect(salts[0]).not.toEqual(salts[2]);
  });

  test('a key that is none, or cannot be made: nobody can tell, and nobody is told anything else', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'mbox-pop3d-test-'));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    writeFileSync(join(dir, '.salt-key'), 'short');
    await expect(storedSaltKey(dir)()).rejects.toThrow(Unavailable);
    const users = proofs(`alice:${await keys('sha256', 'a')}\n`, storedSaltKey(join(dir, 'missing')));
    for (const user of ['alice', 'mallory']) {
      await expect(users.scramChallenge('SCRAM-SHA-256', bytes(user))).rejects.toThrow(Unavailable);
    }
  });
});

describe('SASLprep, RFC 4013', () => {
  test.each([
    ['I\u00adX', 'IX'],
    ['user', 'user'],
    ['USER', 'USER'],
    ['\u00aa', 'a'],
    ['\u2168', 'IX'],
    ['a\u00a0b', 'a b'],
    ['e\u0301', '\u00e9'],
    ['\ufb01sh\u{1f40e}', 'fish\u{1f40e}'],
    // What has no prepared form stays as it is.
    ['\u0007', '\u0007'],
    ['\u0627\u0031', '\u0627\u0031'],
    ['\u00ad', '\u00ad'],
    ['', ''],
  ])('%j is prepared as %j', async (password, prepared) => {
    expect(Buffer.from(await preparePassword(bytes(password))).toString()).toBe(prepared);
  });

  test('octets that are not UTF-8 stay as they are', async () => {
    const latin1 = Buffer.from('p\xe4ss', 'latin1');
    expect(await preparePassword(latin1)).toEqual(latin1);
  });

  const COMPOSED = 'p\u00e4ss';
  const DECOMPOSED = 'pa\u0308ss';
  const LATIN1 = Buffer.from(COMPOSED, 'latin1');

  test('a password is the same whichever way it is composed: sent or proved, against each kind', async () => {
    const crypted = (await linuxHost.crypt(bytes(COMPOSED), '$6$rounds=1000$abcdefgh$'))!;
    for (const sent of [COMPOSED, DECOMPOSED]) {
      for (const stored of [
        `{PLAIN}${bytes(COMPOSED).toString('latin1')}`,
        crypted,
        await keys('sha256', COMPOSED),
      ]) {
        expect(await verifyPassword(linuxHost, bytes(sent), stored), `${sent} ${stored}`).toBe(true);
        expect(await verifyPassword(linuxHost, bytes(`${sent}x`), stored), `${sent} ${stored}`).toBe(false);
      }
    }
    const stored = `{PLAIN}${bytes(DECOMPOSED).toString('latin1')}`;
    expect(await verifyPassword(linuxHost, bytes(COMPOSED), stored)).toBe(true);
    const users = new StaticUsers({ alice: DECOMPOSED });
    expect((await byScram(users, 'sha256', 'alice', COMPOSED)).mutual).toBe(true);
    expect(await users.checkProof(cram('alice', COMPOSED))).toHaveProperty('account');
    expect(await users.checkProof(cram('alice', DECOMPOSED))).toHaveProperty('account');
  });

  test('hashes made of Latin-1 octets still work for the octets they were made of, and for no others', async () => {
    const crypted = (await linuxHost.crypt(LATIN1, '$6$rounds=1000$abcdefgh$'))!;
    for (const stored of [crypted, `{PLAIN}${COMPOSED}`]) {
      expect(await verifyPassword(linuxHost, LATIN1, stored)).toBe(true);
      expect(await verifyPassword(linuxHost, bytes(COMPOSED), stored)).toBe(false);
    }
  });
});

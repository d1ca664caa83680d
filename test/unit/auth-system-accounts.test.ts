// System accounts from files written here in the form of passwd(5) and shadow(5); the hashes are real ones.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemAccounts, type SystemAccountsOptions } from '../../lib/auth/system-accounts.js';
import { Unavailable } from '../../lib/errors.js';
import { linuxHost } from '../../lib/host/linux.js';

const isRoot = process.geteuid?.() === 0;
if (isRoot)
  console.warn('auth-system-accounts.test.ts: a shadow file without permission is not tested: root');

const TODAY = 20_000;
/** Of `correct horse`, made by crypt(3): the first with Debian's default cost. */
const YESCRYPT = '$y$j9T$k2XAnEHBqQ1Ct2aMXFKNa/$Ry7oZ9ThqkDutyuKduodO92iRCkOPEVA3D3cGUEN1J1';
const SHA512 =
  '$6$rounds=1000$abcdefgh$DbXqPck5ABZumVXwcH5eMVHsPZwvQ3jylSxpJmKkZVxcoCiC3N0rPerjHmAqL7r6PK6CIeYnO9.vxpbsevscg/';
const CHEAP = '$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80';
const LIKE_CHEAP = '$1$........$......................';

let dir: string;
let settings: string[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'system-accounts-'));
  settings = [];
  passwd('alice:x:1001:1002:Alice,,,:/home/alice:/bin/bash');
});
afterEach(() => rmSync(dir, { recursive: true }));

const passwd = (...lines: string[]) => writeFileSync(join(dir, 'passwd'), `${lines.join('\n')}\n`, 'latin1');
const shadow = (...lines: string[]) => writeFileSync(join(dir, 'shadow'), `${lines.join('\n')}\n`, 'latin1');

/** Notes what it is asked to hash with. */
const host = {
  crypt(password: Uint8Array, setting: string) {
    settings.push(setting);
    return linuxHost.crypt(password, setting);
  },
};

const files = () => ({
  passwd: join(dir, 'passwd'),
  shadow: join(dir, 'shadow'),
  nologin: join(dir, 'nologin'),
});

function login(user = 'alice', password = 'correct horse', options: Partial<SystemAccountsOptions> = {}) {
  const accounts = new SystemAccounts({ host, ...files(), now: () => TODAY, ...options });
  return accounts.checkPassword(Buffer.from(user, 'latin1'), Buffer.from(password, 'latin1'));
}

const ALICE = { account: { user: 'alice', uid: 1001, gid: 1002 } };

describe('a password is checked by crypt(3)', () => {
  test.each([
    ['yescrypt', YESCRYPT],
    ['sha512crypt', SHA512],
    ['md5crypt', CHEAP],
    ['descrypt', 'abhfCpXqd4GrI'],
  ])('%s', async (_, hash) => {
    shadow(`alice:${hash}:19000:0:99999:7:::`);
    expect(await login()).toEqual(ALICE);
    expect(await login('alice', 'Correct horse')).toEqual({ refused: 'wrong password' });
    expect(await login('alice', hash)).toEqual({ refused: 'wrong password' });
  });

  test('a hash that another program made just now', async () => {
    const hash = execFileSync('openssl', ['passwd', '-6', 'p\xe4ss word'], { encoding: 'latin1' }).trim();
    shadow(`alice:${hash}:19000:0:99999:7:::`);
    expect(await login('alice', Buffer.from('p\xe4ss word').toString('latin1'))).toEqual(ALICE);
    expect(await login('alice', 'pass word')).toEqual({ refused: 'wrong password' });
  });

  test('a hash in passwd(5) itself, without ageing', async () => {
    passwd(`alice:${CHEAP}:1001:1002::/:`);
    shadow('alice:*:0:0:1:7::1:');
    expect(await login()).toEqual(ALICE);
    expect(await login('alice', 'x')).toEqual({ refused: 'wrong password' });
  });

  test('{PLAIN} means nothing here', async () => {
    shadow('alice:{PLAIN}correct horse:19000:0:99999:7:::');
    expect(await login()).toHaveProperty('refused');
    passwd('alice:{PLAIN}correct horse:1001:1002::/:');
    expect(await login()).toHaveProperty('refused');
  });
});

describe('C57: a field that is no hash lets nobody in, at the cost of a real check', () => {
  const FIELDS = [
    '!',
    '!!',
    '*',
    '!*',
    '',
    'x',
    `!${CHEAP}`,
    `*${CHEAP}`,
    'correct horse',
    '*NP*',
    '##alice',
  ];
  const cases = FIELDS.flatMap(field =>
    ['correct horse', 'x', '', field].map(tried => [field, tried] as const),
  );

  test.each(cases)('shadow %j with password %j', async (field, tried) => {
    shadow(`bob:${CHEAP}:::::::`, `alice:${field}:19000:0:99999:7:::`);
    expect(await login('alice', tried)).toHaveProperty('refused');
    expect(settings).toEqual([LIKE_CHEAP]);
  });

  test.each(cases)('passwd %j with password %j', async (field, tried) => {
    passwd(`alice:${field}:1001:1002::/:`);
    shadow(`bob:${CHEAP}:::::::`);
    expect(await login('alice', tried)).toHaveProperty('refused');
    expect(settings).toEqual([LIKE_CHEAP]);
  });

  test.each([
    ['$9$abcdefgh$abcdefgh', 'unusable password hash'],
    ['$y$', 'unusable password hash'],
    ['$y$j9T$', 'wrong password'],
    ['$6$', 'wrong password'],
    [SHA512.slice(0, -1), 'wrong password'],
    [YESCRYPT.slice(0, -1), 'wrong password'],
    [CHEAP.slice(0, -3), 'wrong password'],
  ])('%j', async (field, refused) => {
    shadow(`alice:${field}:19000:0:99999:7:::`);
    for (const tried of ['correct horse', field, 'x']) {
      expect(await login('alice', tried)).toEqual({ refused });
    }
  });
});

describe('shadow(5)', () => {
  // lastchg : min : max : warn : inact : expire : reserved
  test.each([
    ['19000:0:99999:7:::', undefined],
    ['19000::::::', undefined],
    [`19000:0:99999:7::${TODAY + 1}:`, undefined],
    [`19000:0:99999:7::${TODAY}:`, 'account expired'],
    ['19000:0:99999:7::1:', 'account expired'],
    ['19000:0:99999:7::0:', 'account expired'],
    ['19000:0:99999:7::-1:', undefined],
    ['0:0:99999:7:::', 'password must be changed'],
    ['0::::::', 'password must be changed'],
    [`${TODAY + 1}:0:1:7:::`, undefined],
    [`${TODAY - 90}:0:90:7:::`, undefined],
    [`${TODAY - 91}:0:90:7:::`, 'password expired, must be changed'],
    [`${TODAY - 91}:0:90:7:10::`, 'password expired, must be changed'],
    [`${TODAY - 100}:0:90:7:10::`, 'password expired, must be changed'],
    [`${TODAY - 101}:0:90:7:10::`, 'password expired, inactive'],
    [`${TODAY - 91}:0:90:7:0::`, 'password expired, inactive'],
    [`${TODAY - 101}:0:90:7:-1::`, 'password expired, must be changed'],
    [`${TODAY - 101}:0::7:10::`, undefined],
    [`${TODAY - 101}:0:-1:7:10::`, undefined],
    [':0:99999:7:::', undefined],
    [':0:90:7:::', 'password expired, must be changed'],
    [`${TODAY - 85}:0:90:7:::`, undefined],
    [`${TODAY - 1}:30:90:7:::`, undefined],
    ['19000:0:99999:7:::reserved', undefined],
    ['19000:0:99999:7::', 'shadow entry malformed'],
    ['19000:0:99999:7::::', 'shadow entry malformed'],
    ['x:0:99999:7:::', 'shadow entry malformed'],
    ['19000:0:99999:7::0x9:', 'shadow entry malformed'],
    ['19000:0:99999:7:::\r', undefined],
  ])('%s', async (rest, refused) => {
    shadow(`bob:${CHEAP}:::::::`, `alice:${CHEAP}:${rest}`);
    expect(await login()).toEqual(refused === undefined ? ALICE : { refused });
    expect(settings).toEqual([refused === undefined ? CHEAP : LIKE_CHEAP]);
    expect(await login('alice', 'wrong')).toEqual({ refused: refused ?? 'wrong password' });
  });

  test('today is the UTC day', async () => {
    const accounts = new SystemAccounts({ host, ...files() });
    const check = () => accounts.checkPassword(Buffer.from('alice'), Buffer.from('correct horse'));
    const today = Math.floor(Date.now() / 86_400_000);
    shadow(`alice:${CHEAP}:19000:0:99999:7::${today + 2}:`);
    expect(await check()).toEqual(ALICE);
    shadow(`alice:${CHEAP}:19000:0:99999:7::${today}:`);
    expect(await check()).toEqual({ refused: 'account expired' });
  });

  test('x without an entry is refused; the first of two entries counts, even a broken one', async () => {
    shadow(`bob:${CHEAP}:::::::`, `aalice:${CHEAP}:::::::`, 'alic');
    expect(await login()).toEqual({ refused: 'no shadow entry' });
    shadow('alice:!:::::::', `alice:${CHEAP}:::::::`);
    expect(await login()).toEqual({ refused: 'locked' });
    shadow('alice:!', `alice:${CHEAP}:::::::`);
    expect(await login()).toEqual({ refused: 'shadow entry malformed' });
    shadow(`alice:${CHEAP}:::::::`, 'alice:!:::::::');
    expect(await login()).toEqual(ALICE);
  });

  test('without a final line end, and after lines of any octets', async () => {
    writeFileSync(join(dir, 'shadow'), Buffer.from(`\xff\0:\xe4\n\n:::\nalice:${CHEAP}:::::::`, 'latin1'));
    expect(await login()).toEqual(ALICE);
  });
});

describe('passwd(5)', () => {
  beforeEach(() => shadow(`alice:${CHEAP}:::::::`, `+:${CHEAP}:::::::`, `root:${CHEAP}:::::::`));

  test.each([
    ['alice:x:0:1002::/:', 'uid or gid 0'],
    ['alice:x:1001:0::/:', 'uid or gid 0'],
    ['alice:x:000:1002::/:', 'uid or gid 0'],
    ['alice:x:999:1002::/:', 'uid 999 is below 1000'],
    ['alice:x:-1:1002::/:', 'passwd entry malformed'],
    ['alice:x:4294967295:1002::/:', 'passwd entry malformed'],
    ['alice:x:4294967296:1002::/:', 'passwd entry malformed'],
    ['alice:x:1001:4294967295::/:', 'passwd entry malformed'],
    ['alice:x:1001:x::/:', 'passwd entry malformed'],
    ['alice:x::1002::/:', 'passwd entry malformed'],
    ['alice:x:1001:1002::/', 'passwd entry malformed'],
    ['alice:x:1001:1002::/::', 'passwd entry malformed'],
    ['alice:x:1001:1002', 'passwd entry malformed'],
    ['Alice:x:1001:1002::/:', 'unknown user'],
    ['+alice:x:1001:1002::/:', 'unknown user'],
    ['-alice:x:1001:1002::/:', 'unknown user'],
    ['alice', 'unknown user'],
    ['', 'unknown user'],
  ])('%j', async (line, refused) => {
    passwd(line);
    expect(await login()).toEqual({ refused });
    expect(settings).toEqual([LIKE_CHEAP]);
  });

  test('the least uid is a setting, but never 0', async () => {
    passwd('alice:x:999:1002::/:', 'root:x:0:0::/:');
    const options = { minimumUid: 0 };
    expect(await login('alice', 'correct horse', options)).toHaveProperty('account.uid', 999);
    expect(await login('root', 'correct horse', options)).toEqual({ refused: 'uid or gid 0' });
  });

  test('the first line of a name counts', async () => {
    passwd('alice:x:1001:1002::/:', 'alice:x:1003:1004::/:');
    expect(await login()).toEqual(ALICE);
    passwd('bob:x:1:1:alice:/:', 'alice:x:1001:1002::/:');
    expect(await login()).toEqual(ALICE);
  });
});

test.each([
  '../alice',
  'a/b',
  '.',
  '..',
  '',
  'alice\0',
  '%d',
  '%{user}',
  "alice'--",
  'x'.repeat(300),
  'alic\xe9',
  'alice\xcc\x81',
  'root',
  'daemon',
  'alice.lock',
  '+',
  '+alice',
  '-',
  'alice:x',
  'alice\n',
  'ALICE',
  'nobody-here',
  '__proto__',
])('C46: %j is refused, at the cost of one hash of the usual kind', async user => {
  passwd('root:x:0:0::/:', 'daemon:x:1:1::/:', 'alice:x:1001:1002::/:', '+:x:1001:1002::/:');
  shadow(`root:${CHEAP}:::::::`, `daemon:${CHEAP}:::::::`, `alice:${CHEAP}:::::::`, `+:${CHEAP}:::::::`);
  expect(await login(user)).toHaveProperty('refused');
  expect(settings).toEqual([LIKE_CHEAP]);
});

test('the stand-in is of the usual method and cost, and holds nothing of anybody', async () => {
  shadow(`a:${CHEAP}:::::::`, `b:${SHA512}:::::::`, `c:${SHA512}:::::::`, 'd:*:::::::');
  await login('nobody-here');
  shadow(`a:${YESCRYPT}:::::::`);
  await login('nobody-here');
  shadow('a:$7$BU..../....k2XAnEHBqQ1Ct2aMXFKNa/$Q5pezBy5hqudsV.XXg2wEgSGmFoMyt44hmjNjKRIhF/:::::::');
  await login('nobody-here');
  shadow('a:*:::::::');
  await login('nobody-here');
  expect(settings).toEqual([
    `$6$rounds=1000$........$${'.'.repeat(86)}`,
    `$y$j9T$${'.'.repeat(22)}$${'.'.repeat(43)}`,
    `$7$BU..../....${'.'.repeat(22)}$${'.'.repeat(43)}`,
    `$6$${'.'.repeat(16)}$${'.'.repeat(86)}`,
  ]);
});

test('nologin: nobody is let in while the file is there, right password or wrong', async () => {
  shadow(`alice:${CHEAP}:::::::`);
  writeFileSync(join(dir, 'nologin'), 'back at noon\n');
  expect(await login()).toEqual({ refused: 'nologin' });
  expect(await login('alice', 'wrong')).toEqual({ refused: 'nologin' });
  expect(settings).toEqual([LIKE_CHEAP, LIKE_CHEAP]);
  rmSync(join(dir, 'nologin'));
  expect(await login()).toEqual(ALICE);
});

describe('what cannot be read is unavailable, for everybody', () => {
  beforeEach(() => shadow(`alice:${CHEAP}:::::::`));
  const isUnavailable = async () => {
    for (const user of ['alice', 'mallory', '']) {
      const error = await login(user).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(Unavailable);
      expect(error).toMatchObject({ code: 'SYS/TEMP', message: 'Cannot check passwords now' });
    }
  };

  test.each(['passwd', 'shadow'])('no %s', async file => {
    rmSync(join(dir, file));
    await isUnavailable();
  });

  test.each(['passwd', 'shadow'])('%s is a directory, or a FIFO', async file => {
    rmSync(join(dir, file));
    mkdirSync(join(dir, file));
    await isUnavailable();
    rmSync(join(dir, file), { recursive: true });
    execFileSync('mkfifo', [join(dir, file)]);
    await isUnavailable();
  });

  test.skipIf(isRoot)('no permission for shadow', async () => {
    chmodSync(join(dir, 'shadow'), 0);
    await isUnavailable();
  });

  test('no crypt(3)', async () => {
    const none = { crypt: async () => undefined };
    await expect(login('alice', 'x', { host: none })).rejects.toThrow(Unavailable);
    await expect(login('mallory', 'x', { host: none })).rejects.toThrow(Unavailable);
  });
});

test('each login reads the files as they are', async () => {
  shadow(`alice:${CHEAP}:::::::`);
  const accounts = new SystemAccounts({ host, ...files() });
  const check = () => accounts.checkPassword(Buffer.from('alice'), Buffer.from('correct horse'));
  expect(await check()).toEqual(ALICE);
  // usermod(8) replaces the file.
  writeFileSync(join(dir, 'shadow+'), `alice:!${CHEAP}:::::::\n`);
  renameSync(join(dir, 'shadow+'), join(dir, 'shadow'));
  expect(await check()).toEqual({ refused: 'locked' });
});

// What a login gets and costs, whoever it is for; and the users a program gives.
import { describe, expect, test } from 'vitest';
import { Credentials } from '../../lib/auth/credentials.js';
import { StaticUsers } from '../../lib/auth/static-users.js';
import { parseUsers } from '../../lib/auth/users-lines.js';
import { Unavailable } from '../../lib/errors.js';
import { linuxHost } from '../../lib/host/linux.js';

const bytes = (text: string) => Buffer.from(text);

/** A host that notes the settings it is asked to hash with. */
function recordingHost() {
  const settings: string[] = [];
  const crypt = (password: Uint8Array, setting: string) => {
    settings.push(setting);
    return linuxHost.crypt(password, setting);
  };
  return { settings, crypt };
}

const SHA512 =
  '$6$rounds=1000$abcdefgh$DbXqPck5ABZumVXwcH5eMVHsPZwvQ3jylSxpJmKkZVxcoCiC3N0rPerjHmAqL7r6PK6CIeYnO9.vxpbsevscg/';
const MD5 = '$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80';

const FILE = `
alice:${SHA512}
bob:!${SHA512}
carol:${SHA512}
dave:*
eve:
frank:${MD5}
grace:$9$unknown$hash
heidi:not-a-hash
ivan:${SHA512}:0
`;
const credentials = (host: { crypt: typeof linuxHost.crypt } = linuxHost, file = FILE) =>
  new Credentials(parseUsers(Buffer.from(file)).users, host);

test('the account is named as the file spells it', async () => {
  const password = bytes('correct horse');
  expect(await credentials().checkPassword(bytes('alice'), password)).toEqual({ account: { user: 'alice' } });
  const withIds = credentials(linuxHost, `alice:${MD5}:1000:100`);
  expect(await withIds.checkPassword(bytes('alice'), password)).toEqual({
    account: { user: 'alice', uid: 1000, gid: 100 },
  });
});

test.each([
  ['alice', 'wrong', 'wrong password'],
  ['mallory', 'wrong', 'unknown user'],
  ['Alice', 'correct horse', 'unknown user'],
  ['bob', 'correct horse', 'locked'],
  ['dave', '*', 'locked'],
  ['eve', '', 'no password'],
  ['eve', 'x', 'no password'],
  ['heidi', 'not-a-hash', 'password is neither a crypt(3) hash nor {PLAIN}'],
  ['ivan', 'correct horse', 'uid 0 is not allowed'],
  ['alice', '', 'empty password'],
  ['alice', 'correct horse\0', 'NUL in password'],
  ['alice', 'x'.repeat(512), 'password over 511 octets'],
  ['alice', 'x'.repeat(25_000), 'password over 511 octets'],
  ['', 'correct horse', 'unknown user'],
  ['x'.repeat(65), 'correct horse', 'unknown user'],
  ['alice\0', 'correct horse', 'unknown user'],
  ['../alice', 'correct horse', 'unknown user'],
  ['alice.lock', 'correct horse', 'unknown user'],
  ['constructor', 'correct horse', 'unknown user'],
  ['__proto__', 'correct horse', 'unknown user'],
  ["alice'--", 'correct horse', 'unknown user'],
])(
  'C46, C47: %j with %j is refused at the cost of one hash of the usual kind',
  async (user, password, refused) => {
    const host = recordingHost();
    expect(await credentials(host).checkPassword(bytes(user), bytes(password))).toEqual({ refused });
    expect(host.settings).toEqual([SHA512]);
  },
);

test('C57: a hash that crypt(3) does not know refuses', async () => {
  const verdict = await credentials().checkPassword(bytes('grace'), bytes('x'));
  expect(verdict).toEqual({ refused: 'unusable password hash' });
});

test('C43: after any number of failures in any order, wrong is refused and right is let in', async () => {
  const users = credentials();
  const check = (user: string, password: string) => users.checkPassword(bytes(user), bytes(password));
  const attempts = Array.from({ length: 10 }, (_, n) => [
    check('alice', `wrong ${n}`),
    check('mallory', 'correct horse'),
    check('bob', 'correct horse'),
    check('alice', ''),
  ]).flat();
  for (const verdict of await Promise.all(attempts)) expect(verdict).toHaveProperty('refused');
  expect(await check('alice', 'wrong')).toHaveProperty('refused');
  expect(await check('alice', 'correct horse')).toHaveProperty('account');
  expect(await check('alice', 'wrong')).toHaveProperty('refused');
});

test('C47: a stand-in that cannot be hashed fails like a user who cannot be', async () => {
  const none = credentials({ crypt: async () => undefined });
  await expect(none.checkPassword(bytes('alice'), bytes('x'))).rejects.toThrow(Unavailable);
  await expect(none.checkPassword(bytes('mallory'), bytes('x'))).rejects.toThrow(Unavailable);
});

test('the password of one user is none of another, one after the other or at once', async () => {
  const users = credentials(linuxHost, 'alice:{PLAIN}a\nbob:{PLAIN}b\n');
  const pairs = [
    ['alice', 'a', true],
    ['bob', 'a', false],
    ['alice', 'b', false],
    ['bob', 'b', true],
  ] as const;
  const verdicts = await Promise.all(
    pairs.map(([user, password]) => users.checkPassword(bytes(user), bytes(password))),
  );
  expect(verdicts.map(verdict => 'account' in verdict)).toEqual(pairs.map(pair => pair[2]));
});

describe('StaticUsers', () => {
  test('passwords are text, and come as UTF-8', async () => {
    const users = new StaticUsers({ alice: 'sécret 🐎', bob: '{PLAIN}x' });
    expect(await users.checkPassword(bytes('alice'), bytes('sécret 🐎'))).toEqual({
      account: { user: 'alice' },
    });
    expect(await users.checkPassword(bytes('alice'), Buffer.from('sécret', 'latin1'))).toHaveProperty(
      'refused',
    );
    expect(await users.checkPassword(bytes('bob'), bytes('{PLAIN}x'))).toHaveProperty('account');
    expect(await users.checkPassword(bytes('bob'), bytes('x'))).toHaveProperty('refused');
  });

  test('no users at all: everybody is refused', async () => {
    const users = new StaticUsers({});
    for (const name of ['', 'alice', 'constructor', 'toString']) {
      expect(await users.checkPassword(bytes(name), bytes('x'))).toEqual({ refused: 'unknown user' });
    }
  });

  test.each([
    [{ 'a/b': 'x' }, /not a user name/],
    [{ '': 'x' }, /not a user name/],
    [{ alice: '' }, /password of alice/],
    [{ alice: 'a\0b' }, /password of alice/],
    [{ alice: 'x'.repeat(512) }, /password of alice/],
  ])('%j is refused by the constructor', (passwords, message) => {
    expect(() => new StaticUsers(passwords as unknown as Record<string, string>)).toThrow(message);
  });
});

/** `mbox-pop3d user` as a process, and a server that runs meanwhile: each change counts at the next login. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type UserAction, userAction } from '../../lib/cli/user.js';
import type { RawOptions } from '../../lib/config.js';
import { EX } from '../../lib/errors.js';
import { messages, scratchDir } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { servePlaces, serving } from '../support/serving.js';
import { user } from '../support/user-command.js';

const login = async (port: number, name: string, password: string) => {
  const client = await Pop3Client.greeted(port);
  await client.ok(`USER ${name}`);
  client.send(`PASS ${password}\r\n`);
  const reply = await client.line();
  // Else the mailbox could still be in use at the next login.
  await client.ok('QUIT');
  client.socket.destroy();
  return reply;
};

test('add, passwd, lock, unlock, remove, each with a login at the running server before and after', async () => {
  const places = servePlaces({ zoe: messages(1).join('') });
  const flags = ['--failure-delay', '0', '--max-failure-delay', '0'];
  const { server, port } = await serving(places, flags);
  const users = join(places.root, 'users');
  const before = readFileSync(users, 'latin1');
  const { uid, gid } = statSync(join(places.spool, 'zoe'));
  const file = ['--users', users, '--spool', places.spool];
  const can = async (password: string) => /^\+OK/.test(await login(port, 'zoe', password));

  // Known to the server already, by the file that it started with.
  expect((await user(['remove', 'zoe', ...file])).stdout).toBe(`zoe removed; ${places.spool}/zoe stays\n`);
  expect(await can('first')).toBe(false);
  const added = await user(['add', 'zoe', ...file, '--uid', `${uid}`, '--gid', `${gid}`], 'first\n');
  expect(added).toEqual({ code: 0, stdout: 'zoe added\n', stderr: '' });
  expect(readFileSync(users, 'latin1')).toMatch(
    new RegExp(`^zoe:\\{SCRAM-SHA-256\\}100000,[^:]*:${uid}:${gid}\n`, 'm'),
  );
  // Twice: the second is remembered by the cache of logins.
  expect([await can('first'), await can('first'), await can('second')]).toEqual([true, true, false]);

  expect((await user(['passwd', 'zoe', ...file, '--scheme', 'sha512-crypt'], 'second')).code).toBe(0);
  expect([await can('first'), await can('second'), await can('second')]).toEqual([false, true, true]);
  expect((await user(['lock', 'zoe', ...file])).stdout).toBe('zoe locked; mail is still delivered\n');
  expect(await can('second')).toBe(false);
  expect((await user(['passwd', 'zoe', ...file, '--cost=4096'], 'third')).stdout).toBe(
    'zoe password changed; still locked\n',
  );
  expect([await can('second'), await can('third')]).toEqual([false, false]);
  expect((await user(['unlock', 'zoe', ...file])).stdout).toBe('zoe unlocked\n');
  expect([await can('second'), await can('third')]).toEqual([false, true]);
  expect((await user(['remove', 'zoe', ...file])).code).toBe(0);
  expect(await can('third')).toBe(false);
  expect(readFileSync(users, 'latin1')).toBe(before.replace(/^zoe:.*\n/m, ''));
  expect(readFileSync(join(places.spool, 'zoe'), 'latin1')).toBe(messages(1).join(''));
  expect(await server.stop()).toBe(0);
});

test('verify says by its exit code at which stage it ends; lines that are no good are named, and stay', async () => {
  const users = join(scratchDir(), 'users');
  writeFileSync(users, 'alice:{PLAIN}secret\nbob:!{PLAIN}b\nbroken\ncarol:\ndave:$9$x\nerin:nonsense\n');
  const verify = async (name: string, password: string) =>
    (await user(['verify', name, '--users', users, '--stdin'], password)).code;
  expect(
    await Promise.all([
      verify('alice', 'secret\n'),
      verify('alice', 'Secret'),
      verify('zoe', 'x'),
      verify('bob', 'b'),
      verify('erin', 'nonsense'),
    ]),
  ).toEqual([0, EX.NOPERM, EX.NOUSER, EX.UNAVAILABLE, EX.CONFIG]);

  const locked = await user(['lock', 'alice'], '', { MBOX_POP3D_USERS: users });
  expect(locked.stderr).toBe(
    [
      'mbox-pop3d: warning: USERS:3: no colon and password after the name',
      'mbox-pop3d: warning: USERS:6: password is neither a crypt(3) hash nor {PLAIN}\n',
    ]
      .join('\n')
      .replaceAll('USERS', users),
  );
  expect(readFileSync(users, 'latin1')).toBe(
    'alice:!{PLAIN}secret\nbob:!{PLAIN}b\nbroken\ncarol:\ndave:$9$x\nerin:nonsense\n',
  );
});

test('list tells who is there, and nothing of the secrets', async () => {
  const places = servePlaces({ alice: messages(2).join('') });
  const users = join(places.root, 'list');
  writeFileSync(
    users,
    '# staff\nalice:{PLAIN}topsecret:1000:100:A.:/:/bin/sh:pop3=no\nbob:!$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80\n',
  );
  const flags = ['--users', users, '--spool', places.spool];
  const [text, json] = [await user(['list', ...flags]), await user(['list', '--json', ...flags])];
  const { size, mtime } = statSync(join(places.spool, 'alice'));
  expect(text.stdout.split('\n').map(line => line.split(/ +/))).toEqual([
    ['NAME', 'SCHEME', 'LOGIN', 'UID', 'OCTETS', 'CHANGED'],
    ['alice', 'PLAIN', 'pop3=no', '1000', `${size}`, `${mtime.toISOString().slice(0, 16)}Z`],
    ['bob', 'MD5-CRYPT', 'locked', '-', '-', '-'],
    [''],
  ]);
  expect(JSON.parse(json.stdout)).toEqual([
    {
      name: 'alice',
      scheme: 'PLAIN',
      locked: false,
      pop3: false,
      uid: 1000,
      gid: 100,
      mailbox: { path: join(places.spool, 'alice'), octets: size, changed: mtime.toISOString() },
    },
    { name: 'bob', scheme: 'MD5-CRYPT', locked: true, pop3: true, uid: null, gid: null, mailbox: null },
  ]);
  expect(text.stdout + json.stdout).not.toMatch(/topsecret|y6iHh/);
});

test.each([
  [['add', 'zoe', 'password'], EX.USAGE, 'Unknown argument'],
  [['add', 'zoe', '--password', 'x'], EX.USAGE, 'Unknown argument'],
  [['add', 'zoe'], EX.USAGE, 'no password on standard input'],
  [['remove', 'zoe'], EX.NOUSER, 'no user zoe'],
  [['frobnicate'], EX.USAGE, 'frobnicate'],
])('%j ends with %d and changes nothing', async (args, code, message) => {
  const users = join(scratchDir(), 'users');
  writeFileSync(users, 'alice:{PLAIN}secret\nbob:*\n');
  const result = await user([...args, '--users', users]);
  expect(result.stderr).toContain(message);
  expect([result.code, readFileSync(users, 'latin1')]).toEqual([code, 'alice:{PLAIN}secret\nbob:*\n']);
});

test.each<[UserAction, RawOptions, number, string]>([
  ['add', { name: '../alice' }, EX.USAGE, 'not a user name'],
  ['add', { name: 'alice.lock' }, EX.USAGE, 'not a user name'],
  ['add', { name: 'alice' }, EX.CANTCREAT, 'alice is there already'],
  ['add', { name: 'zoe', scheme: 'md4' }, EX.USAGE, 'md4: choose of SCRAM-SHA-256'],
  ['add', { name: 'zoe', scheme: ['plain', 'plain'] }, EX.USAGE, '--scheme is given more than once'],
  ['add', { name: 'zoe', scheme: 'scram-sha-256', cost: '1' }, EX.USAGE, 'has 4096 to'],
  ['add', { name: 'zoe', scheme: 'scram-sha-256', cost: '1e5' }, EX.USAGE, '--cost 1e5: not a number'],
  ['add', { name: 'zoe', uid: '0' }, EX.USAGE, '--uid 0: not a uid of a mailbox'],
  ['add', { name: 'zoe', uid: '4294967295' }, EX.USAGE, '--uid 4294967295'],
  ['add', { name: 'zoe', uid: 'no-such-user-here' }, EX.NOUSER, '--uid no-such-user-here'],
  ['add', { name: 'zoe', gid: 'no-such-group' }, EX.NOUSER, '--gid no-such-group'],
  ['passwd', { name: 'zoe' }, EX.NOUSER, 'no user zoe'],
  ['verify', { name: 'carol' }, EX.UNAVAILABLE, 'carol: pop3=no'],
  ['verify', { name: 'bob' }, EX.UNAVAILABLE, 'bob: locked'],
  ['unlock', { name: 'bob' }, EX.CONFIG, 'bob has no usable password'],
  ['list', { users: '/nonexistent/users' }, EX.NOINPUT, 'no such file'],
  ['list', { users: undefined }, EX.USAGE, '--users is missing'],
])('%s %j ends with %d and changes nothing', async (action, options, code, message) => {
  const users = join(scratchDir(), 'users');
  writeFileSync(users, 'alice:{PLAIN}secret\nbob:*\ncarol:{PLAIN}c::::::pop3=no\n');
  await expect(userAction(action, { users, ...options })).rejects.toMatchObject({
    exitCode: code,
    message: expect.stringContaining(message),
  });
  expect(readFileSync(users, 'latin1')).toBe('alice:{PLAIN}secret\nbob:*\ncarol:{PLAIN}c::::::pop3=no\n');
});

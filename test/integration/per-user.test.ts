/**
 * One process a client, from inetd: which account a user of ours is taken for. What needs root is the
 * per-user model; without it the same is served with the ids we have.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { message, scratchDir } from '../support/mailbox.js';
import { Nowait } from '../support/nowait.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT } from '../support/program.js';

const PROGRAM = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;

/** Users with two messages each, the n-th of them with uid n where we may give it to them. */
async function doorFor(users: readonly string[], args: readonly string[] = []) {
  const root = scratchDir();
  chmodSync(root, 0o755);
  const [spool, state, file] = [join(root, 'spool'), join(root, 'state'), join(root, 'users')];
  mkdirSync(spool, { mode: 0o755 });
  const lines = users.map((user, i) => {
    const [uid, gid] = IS_ROOT ? [i + 1, i + 1] : [process.getuid!(), process.getgid!()];
    writeFileSync(join(spool, user), message(1) + message(2), { mode: 0o600 });
    chownSync(join(spool, user), uid, gid);
    return `${user}:{PLAIN}secret:${uid}:${gid}\n`;
  });
  writeFileSync(file, lines.join(''), { mode: 0o600 });
  const flags = [`--spool=${spool}`, `--users=${file}`, `--state-dir=${state}`, '--locks=fcntl'];
  const door = await Nowait.start([process.execPath, PROGRAM, 'inetd', ...flags, ...args]);
  return { door, spool, state };
}

describe('users named like our own files in the state directory', () => {
  const USERS = ['model', 'run', 'cache', 'alice'];

  test('delete their mail, and leave the next in peace', async () => {
    const { door, spool, state } = await doorFor(USERS);
    for (const user of USERS) {
      const client = await Pop3Client.loggedIn(door.port, user, 'secret');
      client.socket.write('DELE 1\r\nQUIT\r\n');
      expect(await client.rest()).toMatch(/^\+OK [^\n]*\n\+OK [^\n]*\n$/);
      expect(readFileSync(join(spool, user), 'latin1')).toBe(message(2));
    }
    expect(await door.exits()).toEqual(USERS.map(() => 0));
    for (const ours of ['model', 'run']) expect(statSync(join(state, ours)).uid).toBe(process.geteuid!());
  });
});

test('a silent session gives way to a later process of the same user', async () => {
  const { door, spool, state } = await doorFor(['alice'], ['--takeover=0.2']);
  const old = await Pop3Client.loggedIn(door.port, 'alice', 'secret');
  await old.ok('DELE 1');
  for (;;) {
    const client = await Pop3Client.greeted(door.port);
    await client.ok('USER alice');
    client.socket.write('PASS secret\r\nDELE 2\r\nQUIT\r\n');
    const rest = await client.rest();
    if (rest.startsWith('+OK')) break;
    expect(rest).toMatch(/^-ERR \[IN-USE\] /);
  }
  expect(await old.rest()).toBe('');
  expect(readFileSync(join(spool, 'alice'), 'latin1')).toBe(message(1));
  await door.exits();
  // Who has become its user cannot remove its socket: the next session of that mailbox does.
  const left = () => readdirSync(join(state, 'run')).filter(name => name.endsWith('.socket')).length;
  expect(left()).toBe(IS_ROOT ? 1 : 0);
  const client = await Pop3Client.loggedIn(door.port, 'alice', 'secret');
  expect(left()).toBe(1);
  await client.ok('QUIT');
});

test('the index of a mailbox is kept by its user, whatever that user puts in its place', async () => {
  const { door, spool, state } = await doorFor(['alice'], ['--index-cache=0']);
  const index = join(state, 'alice/index');
  const listed = async () => {
    const client = await Pop3Client.loggedIn(door.port, 'alice', 'secret');
    client.socket.write('UIDL\r\nQUIT\r\n');
    return client.rest();
  };
  const told = await listed();
  expect(told).toMatch(/^\+OK[^\n]*\n1 [0-9a-f]{32}\r\n2 [0-9a-f]{32}\r\n\.\r\n\+OK/);
  const { uid, mode } = statSync(index);
  expect({ uid, mode: mode & 0o777 }).toEqual({ uid: statSync(join(spool, 'alice')).uid, mode: 0o600 });
  expect(await listed()).toBe(told);
  for (const command of [`ln -sf /etc/passwd ${index}`, `rm ${index}; mkfifo ${index} ${index}.new`]) {
    execFileSync('sh', ['-c', command]);
    expect(await listed()).toBe(told);
  }
  expect(await door.exits()).toEqual([0, 0, 0, 0]);
});

describe('an account for the service that does not exist', () => {
  // As root only: nobody else becomes another user.
  test.skipIf(!IS_ROOT).each(['--user=no-such-user', '--group=no-such-group'])(
    '%s: EX_NOUSER, not a parser with the rights of root',
    async flag => {
      const { door } = await doorFor(['alice'], [flag]);
      const client = await Pop3Client.connect(door.port);
      client.socket.write('QUIT\r\n');
      expect(await client.rest()).toBe('-ERR [SYS/PERM] the server is not set up\r\n');
      expect(await door.exits()).toEqual([67]);
    },
  );
});

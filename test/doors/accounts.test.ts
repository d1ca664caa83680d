/**
 * Accounts of the system through a root nowait door: a real yescrypt entry of shadow(5), and those who may not
 * log in, who all hear the same; and accounts whose mailbox nobody may have.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import { Pop3Client } from '../support/pop3-client.js';
import { testAsRoot } from './as-root.js';
import { nowait, SECRET, tryLogin } from './login.js';
import { ALICE, MAIL, MAIL_OF_ALICE, ScratchHost } from './scratch-host.js';

const SYSTEM = ['--auth=system', '--failure-delay=0'];
const REFUSED = '-ERR [AUTH] Authentication failed';

testAsRoot([], 'a yescrypt entry: read, downloaded, deleted, as its user', async () => {
  const host = await ScratchHost.create();
  host.fill('alice', MAIL_OF_ALICE.join(''), { ...ALICE, gid: MAIL });
  const door = await nowait(host, SYSTEM);
  expect(await tryLogin(door, 'alice', 'wrong')).toBe(REFUSED);
  const client = await Pop3Client.loggedIn(door.port, 'alice', SECRET);
  await client.ok('DELE 1');
  await client.ok('QUIT');
  await client.rest();
  expect(host.content('alice')).toBe(MAIL_OF_ALICE.slice(1).join(''));
  expect(await host.logged(/login-failed/)).toMatch(/reason="wrong password"/);
});

testAsRoot(
  [],
  'locked, expired, of the system, unknown, nologin: all hear the same, the log says which',
  async () => {
    const host = await ScratchHost.create();
    host.fill('alice', MAIL_OF_ALICE.join(''), ALICE);
    const door = await nowait(host, SYSTEM);
    for (const user of ['bob', 'root', 'mbox-pop3d', 'nobody', 'carol']) {
      expect(await tryLogin(door, user)).toBe(REFUSED);
    }
    for (const fields of ['20000:0:99999:7::1:', '1:0:10:7:::', '0:0:99999:7:::', 'x']) {
      host.setShadow(undefined, fields);
      expect(await tryLogin(door, 'alice')).toBe(REFUSED);
    }
    host.setShadow();
    writeFileSync(host.etc('nologin'), '');
    expect(await tryLogin(door, 'alice')).toBe(REFUSED);
    const failures = () => host.log.filter(line => line.includes('login-failed'));
    await expect.poll(() => failures().length, { timeout: 20_000 }).toBe(10);
    const reasons = host.log
      .map(line => /login-failed .*reason="?(.*?)"? method=USER$/.exec(line)?.[1])
      .filter(Boolean);
    expect(new Set(reasons)).toEqual(
      new Set([
        'locked',
        'uid or gid 0',
        'no shadow entry',
        'unknown user',
        'account expired',
        'password expired, must be changed',
        'password must be changed',
        'shadow entry malformed',
        'nologin',
      ]),
    );
    expect(host.spoolNames()).toEqual(['alice']);
  },
);

testAsRoot([], 'the shadow file cannot be read: not a wrong password', async () => {
  const host = await ScratchHost.create();
  rmSync(host.etc('shadow'));
  const door = await nowait(host, SYSTEM);
  expect(await tryLogin(door, 'alice')).toMatch(/^-ERR \[SYS\/TEMP\]/);
});

testAsRoot(
  [],
  'users file: id 0, no ids at all, no mailbox; a try is not kept out by the one before',
  async () => {
    const host = await ScratchHost.create();
    const ids = [
      `alice:${ALICE.uid}:${ALICE.gid}`,
      'bob',
      'zero:0:0',
      'group:61003:0',
      'nobodys',
      'empty:61004:61004',
    ];
    host.setUsers(ids.map(line => `${line.replace(/^\w+/, '$&:{PLAIN}x')}\n`).join(''));
    for (const user of ['zero', 'group', 'nobodys'])
      host.fill(user, MAIL_OF_ALICE.join(''), { uid: 0, gid: 0 });
    host.fill('bob', MAIL_OF_ALICE.join(''), ALICE);
    const door = await nowait(host, ['--failure-delay=0']);
    for (const user of ['zero', 'group']) expect(await tryLogin(door, user, 'x')).toBe(REFUSED);
    const client = await Pop3Client.greeted(door.port);
    for (const _ of [1, 2]) {
      await client.ok('USER nobodys');
      expect(await client.ask('PASS x')).toBe('-ERR [SYS/PERM] no mailbox for this user');
    }
    await client.ok('QUIT');
    // Somebody else's file is in the way.
    expect(await tryLogin(door, 'bob', 'x')).toMatch(/^-ERR \[SYS\/PERM\]/);
    for (const user of ['alice', 'empty']) expect(await tryLogin(door, user, 'x')).toMatch(/^\+OK/);
    expect(await door.exits()).toEqual(door.children.map(() => 0));
    for (const user of ['bob', 'zero', 'group', 'nobodys'])
      expect(host.content(user)).toBe(MAIL_OF_ALICE.join(''));
  },
);

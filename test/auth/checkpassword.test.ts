/**
 * A whole checkpassword program, checkpassword.py, in a scratch host: as root for the host's users, and as
 * the service for users of its own.
 */
import { chmodSync, copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { testAsRoot } from '../doors/as-root.js';
import { BOB, MAIL, type ScratchHost, SERVICE } from '../doors/scratch-host.js';
import { messages } from '../support/mailbox.js';
import { CANNOT, perUser, REFUSED, running, scratch, shared, WELCOME } from './scratch.js';

/** The program where every user of the scratch host may run it, as a line for `--checkpassword`. */
function program(host: ScratchHost, ...args: string[]): string[] {
  const path = join(host.root, 'checkpassword');
  copyFileSync(new URL('./checkpassword.py', import.meta.url), path);
  chmodSync(path, 0o755);
  return ['--auth=checkpassword', `--checkpassword=${[path, ...args].join(' ')}`];
}

function table(host: ScratchHost, ...lines: string[]): string {
  const path = join(host.root, 'table');
  writeFileSync(path, `${lines.join('\n')}\n`, 'latin1');
  chmodSync(path, 0o644);
  return path;
}

testAsRoot([], 'for each user, as root: shadow passwords', async () => {
  const host = await scratch();
  const served = await perUser(host, program(host));
  expect(await served.tryLogin('alice')).toMatch(WELCOME);
  expect(await served.tryLogin('alice', 'wrong')).toBe(REFUSED);
  await served.logged(/login-failed user=alice reason="checkpassword: wrong"/);
  for (const user of ['bob', 'carol', 'root']) expect(await served.tryLogin(user)).toBe(REFUSED);
});

testAsRoot([], 'for each user, as root: users of its own, with the ids it gives', async () => {
  const host = await scratch();
  const path = table(host, 'virtual:v:61050:61050', 'alice:a:61002:61002', 'rooted:r:0:0', 'none:n');
  const served = await perUser(host, program(host, '-f', path));
  host.fill('virtual', messages(2).join(''), { uid: 61_050, gid: MAIL }, 0o600);
  expect(await served.tryLogin('virtual', 'v')).toMatch(/^\+OK maildrop has 2 messages/);
  // C45: who is not whom passwd(5) means, or is root, or nobody in particular, gets no mailbox.
  for (const [user, secret] of [
    ['alice', 'a'],
    ['rooted', 'r'],
    ['none', 'n'],
  ] as const) {
    expect(await served.tryLogin(user, secret)).toBe('-ERR [SYS/PERM] no mailbox for this user');
  }
  expect(host.spoolNames()).toEqual(['alice', 'bob', 'virtual']);
});

testAsRoot([], 'C44: shared, as the service: users of its own, passwords of any octets', async () => {
  const host = await scratch();
  const odd = 'a\tb=\x01\xff;$(id)';
  const path = table(host, `virtual:${odd}`, `long:${'x'.repeat(480)}`, `bob:b:${BOB.uid}:${BOB.gid}`);
  const served = await shared(host, program(host, '-f', path));
  for (const user of ['virtual', 'long']) {
    host.fill(user, messages(3).join(''), { uid: SERVICE.uid, gid: MAIL }, 0o660);
  }
  expect(await served.tryLogin('virtual', odd)).toMatch(/^\+OK maildrop has 3 messages/);
  expect(await served.tryLogin('virtual', 'a')).toBe(REFUSED);
  expect(await served.tryLogin('long', 'x'.repeat(480))).toMatch(WELCOME);
  expect(await served.tryLogin('long', 'x'.repeat(500))).toBe(REFUSED);
  // To become somebody takes root.
  expect(await served.tryLogin('bob', 'b')).toMatch(CANNOT);
  await served.logged(/exit code 111: .*Operation not permitted/);
});

testAsRoot([], 'one that hangs, and one that lets everybody in by running nothing', async () => {
  const host = await scratch();
  const seconds = String(200_000 + process.pid);
  host.setUsers('bob:{PLAIN}builder\n');
  const path = join(host.root, 'hangs');
  writeFileSync(path, `#!/bin/sh\nsleep ${seconds}\n`, { mode: 0o755 });
  const hangs = await shared(host, [
    '--auth=users,checkpassword',
    `--checkpassword=${path}`,
    '--auth-timeout=2',
  ]);
  const stuck = hangs.tryLogin('alice');
  expect(await hangs.tryLogin('bob', 'builder')).toMatch(WELCOME);
  expect(await stuck).toMatch(CANNOT);
  await expect.poll(() => running(`sleep\0${seconds}`), { timeout: 20_000 }).toEqual([]);
  await hangs.running.stop();

  const everybody = await shared(host, ['--auth=checkpassword', '--checkpassword=/bin/true']);
  expect(await everybody.tryLogin('alice')).toMatch(CANNOT);
  await everybody.logged(/it ran nothing/);
});

testAsRoot([], 'C50: a hundred logins in flight and one who babbles: a hundred succeed', async () => {
  const host = await scratch();
  const names = Array.from({ length: 100 }, (_, n) => `user${n}`);
  const path = table(host, ...names.map(name => `${name}:secret of ${name}`));
  const flags = [
    ...program(host, '-f', path),
    '--auth-timeout=100',
    '--login-timeout=110',
    '--max-connections-per-address=200',
  ];
  const served = await shared(host, flags);
  const logins = names.map(name => served.tryLogin(name, `secret of ${name}`));
  const others = ['', '\0', 'x'.repeat(600), '\xff'].map(secret => served.tryLogin('alice', secret));
  for (const reply of await Promise.all(logins)) expect(reply).toMatch(WELCOME);
  for (const reply of await Promise.all(others)) expect(reply).toMatch(/^-ERR /);
});

/**
 * Backends outside the server, as the command line has them: what is missing is said at start, and a
 * checkpassword program of an ordinary user lets in after the users file. With root, and with the real
 * programs of other people, it is test/auth.
 */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runHost } from '../support/host-child.js';
import { scratchDir } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT, launch, run } from '../support/program.js';

if (!IS_ROOT) console.warn('auth-backends.test.ts: what root loads is not tested: only root can');

const NOBODY = IS_ROOT ? { uid: 65_534 } : {};

test.each([
  [['--auth=pam'], 77, /--auth pam needs root where passwords are checked: .*saslauthd/],
  [['--auth=checkpassword', '--checkpassword=/nonexistent/program x'], 66, /ENOENT: not a program/],
])('%j: one line, and %d', async (flags, code, line) => {
  const root = scratchDir();
  const state = join(root, 'state');
  const ended = await run(
    ['serve', '--listen=127.0.0.1:0', `--spool=${root}`, `--state-dir=${state}`, ...flags],
    NOBODY,
  );
  expect(ended.stderr).toMatch(line);
  expect(ended.stderr.trim().split('\n')).toHaveLength(1);
  expect(ended.code).toBe(code);
});

test('accounts of the system that the server may not read are named at start', async () => {
  const root = scratchDir();
  chmodSync(root, 0o777);
  const dirs = [`--spool=${root}`, `--state-dir=${join(root, 'state')}`];
  const server = launch(['serve', '--listen=127.0.0.1:0', ...dirs, '--auth=system'], NOBODY);
  await server.port();
  await server.logged(/self-check trouble="\/etc\/shadow cannot be read, .* remedy="[^"]+" or="[^"]+"\n/);
  await server.stop();
});

test('users, then a checkpassword program, of whoever runs the server', async () => {
  const root = scratchDir();
  chmodSync(root, 0o755);
  const program = join(root, 'program');
  writeFileSync(
    program,
    '#!/bin/sh\nif tr "\\0" "\\n" <&3 | head -2 | grep -qx "of carol"; then exec 3<&-; exec "$@"; fi\nexit 1\n',
  );
  chmodSync(program, 0o755);
  const users = join(root, 'users');
  writeFileSync(users, 'dave:{PLAIN}of dave\n');
  const service = IS_ROOT ? ['--user=nobody', '--group=nogroup'] : [];
  const dirs = [`--spool=${root}`, `--state-dir=${join(root, 'state')}`, `--users=${users}`];
  const flags = [
    ...dirs,
    '--auth=users,checkpassword',
    `--checkpassword=${program}`,
    '--failure-delay=0',
    ...service,
  ];
  const server = launch(['serve', '--listen=127.0.0.1:0', '--locks=fcntl', ...flags]);
  const port = await server.port();
  for (const [user, secret] of [
    ['dave', 'of dave'],
    ['carol', 'of carol'],
  ] as const) {
    await (await Pop3Client.loggedIn(port, user, secret)).ok('QUIT');
  }
  const client = await Pop3Client.greeted(port);
  await client.ok('USER dave');
  expect(await client.ask('PASS of carol')).toMatch(/^\+OK/);
  await client.ok('QUIT');
  const wrong = await Pop3Client.greeted(port);
  await wrong.ok('USER dave');
  expect(await wrong.ask('PASS wrong')).toBe('-ERR [AUTH] Authentication failed');
  await server.logged(/login-failed user=dave reason="wrong password; checkpassword: wrong"/);
});

test.runIf(IS_ROOT)('what checks a password of the system is loaded before root is given up', () => {
  const built = (name: string) => JSON.stringify(new URL(`../../dist/lib/${name}.js`, import.meta.url).href);
  const { printed, stderr } = runHost(`
const { openBackends } = await import(${built('cli/authenticator')});
const { settingsFrom } = await import(${built('config')});
const { silentLog } = await import(${built('log')});
await openBackends(host, silentLog, settingsFrom({ auth: 'system' }), true);
const { createRequire } = await import('node:module');
const loaded = Object.keys(createRequire(${built('log')}).cache).join();
print(['unix-crypt-td-js', 'saslprep'].filter(name => !loaded.includes(name)));`);
  expect(stderr).toBe('');
  expect(printed).toEqual([[]]);
});

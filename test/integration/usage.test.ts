/**
 * Mistakes on the command line: each is one line on stderr that names what is wrong, and an exit code of
 * sysexits(3); nothing is made on disk, and nothing listens.
 */

import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { EX } from '../../lib/errors.js';
import { scratchDir } from '../support/mailbox.js';
import { IS_ROOT, type RunOptions, run } from '../support/program.js';
import { SERVED_BY } from '../support/serving.js';

/** Not root: root would first of all have to become somebody. */
const SOMEBODY = IS_ROOT ? SERVED_BY : {};

/** A users file, a spool, and where state would go. */
function places() {
  const root = scratchDir();
  chmodSync(root, 0o777);
  const [users, spool, state] = [join(root, 'users'), join(root, 'spool'), join(root, 'state')];
  writeFileSync(users, 'alice:{PLAIN}secret-alice\n', { mode: 0o644 });
  mkdirSync(spool);
  return { root, users, spool, state };
}

async function expectRefused(
  args: readonly string[],
  code: number,
  text: string | RegExp,
  options: RunOptions = SOMEBODY,
): Promise<void> {
  const { stdout, stderr, ...ended } = await run(args, options);
  // Beside lines of the log, whose time comes first.
  const said = stderr.replace(/^\d{4}-\S+Z info .*\n/gm, '');
  expect(said).toMatch(/^mbox-pop3d: [\x20-\x7e]+\n$/);
  expect(said).toMatch(text);
  expect(stdout).toBe('');
  expect(ended.code).toBe(code);
}

const SERVE = ['serve', '--users', '/nonexistent', '--listen', '127.0.0.1:0'];

test.each<[string, string[], string | RegExp]>([
  ['no command', [], 'a command is needed: serve'],
  ['an unknown command', ['bogus'], 'bogus .see --help.'],
  ['an unknown option', [...SERVE, '--bogus'], 'bogus'],
  ['an option of another command', ['demo', '--spool', '/tmp'], 'spool'],
  ['--auth users without --users', ['serve', '--auth', 'users'], '--users is missing'],
  ['--auth nonsense', [...SERVE, '--auth', 'nonsense'], '--auth nonsense: choose of users,system'],
  ['--users without a value', ['serve', '--users'], 'users'],
  ['--listen without a port', [...SERVE, '--listen', 'localhost'], '--listen localhost: not ADDRESS:PORT'],
  ['--locks nonsense', [...SERVE, '--locks', 'nonsense'], '--locks nonsense: choose of dotlock,fcntl,flock'],
  ['--plaintext never', [...SERVE, '--plaintext', 'never'], '--plaintext never: choose of always,local,tls'],
  [
    '--sasl-mechanisms NTLM',
    [...SERVE, '--sasl-mechanisms', 'PLAIN,NTLM'],
    '--sasl-mechanisms NTLM: choose of',
  ],
  ['--lock-yield soon', [...SERVE, '--lock-yield', 'soon'], '--lock-yield soon'],
  ['--idle-timeout 599', [...SERVE, '--idle-timeout', '599'], '--idle-timeout 599: .*at least 600'],
  ['control characters', [...SERVE, '--locks', 'a\nb\x1b[2J'], '--locks'],
])('%s is EX_USAGE', async (_, args, text) => {
  await expectRefused(args, EX.USAGE, new RegExp(text));
});

test('no users file: EX_NOINPUT, and nothing was made', async () => {
  const { root, spool, state } = places();
  const users = join(root, 'missing');
  const args = ['serve', '--listen', '127.0.0.1:0', '--users', users, '--spool', spool, '--state-dir', state];
  await expectRefused(args, EX.NOINPUT, `users file ${users}: no such file`);
});

test('a users file that may not be read: EX_NOPERM', async () => {
  const { users, spool, state } = places();
  chmodSync(users, 0);
  const args = ['serve', '--listen', '127.0.0.1:0', '--users', users, '--spool', spool, '--state-dir', state];
  await expectRefused(args, EX.NOPERM, `users file ${users}: permission denied`);
});

test('a users file that is a directory: EX_NOINPUT', async () => {
  const { spool, state } = places();
  const args = ['serve', '--listen', '127.0.0.1:0', '--users', spool, '--spool', spool, '--state-dir', state];
  await expectRefused(args, EX.NOINPUT, `users file ${spool}: `);
});

test('a state directory that cannot be made: EX_CANTCREAT', async () => {
  const { users, spool } = places();
  const state = join(users, 'state');
  const args = ['serve', '--listen', '127.0.0.1:0', '--users', users, '--spool', spool, '--state-dir', state];
  await expectRefused(args, EX.CANTCREAT, `cannot create ${state}: ENOTDIR (see --state-dir)`);
});

test('a port in use: EX_UNAVAILABLE, also when it is the second', async () => {
  const { users, spool, state } = places();
  const taken = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void taken.close());
  await once(taken, 'listening');
  const address = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
  const args = ['serve', '--users', users, '--spool', spool, '--state-dir', state];
  const text = `cannot listen on ${address}: the address is in use`;
  await expectRefused([...args, '--listen', address], EX.UNAVAILABLE, text);
  await expectRefused([...args, '--listen', '127.0.0.1:0', '--listen', address], EX.UNAVAILABLE, text);
});

test('an address that is not ours: EX_UNAVAILABLE', async () => {
  const { users, spool, state } = places();
  const args = ['serve', '--users', users, '--spool', spool, '--state-dir', state];
  await expectRefused([...args, '--listen', '192.0.2.1:0'], EX.UNAVAILABLE, 'cannot listen on 192.0.2.1:0: ');
});

test('a mistake in the environment is named as one on the command line', async () => {
  const env = { MBOX_POP3D_LOCKS: 'nonsense' };
  await expectRefused(SERVE, EX.USAGE, '--locks nonsense', { ...SOMEBODY, env });
});

test.each([
  ['serve', '--users'],
  ['demo', '--lock-yield'],
])('%s --help says %s, on stdout', async (command, flag) => {
  const { code, stdout, stderr } = await run([command, '--help'], SOMEBODY);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toContain(flag);
});

test('demo takes what the manual page says it takes', async () => {
  const man = readFileSync(new URL('../../man/mbox-pop3d.8', import.meta.url), 'utf8');
  const entry = /^\.It Cm demo$([\s\S]*?)^\.It /m.exec(man)![1]!;
  const flags = [...entry.matchAll(/^\.Fl -([a-z-]+)/gm)].map(match => match[1]!);
  expect(flags.length).toBeGreaterThan(5);
  const { stdout } = await run(['demo', '--help'], SOMEBODY);
  expect(flags.filter(name => !stdout.includes(`\n  --${name} `))).toEqual([]);
});

test('--version is that of the package', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  expect(await run(['--version'], SOMEBODY)).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
});

if (!IS_ROOT)
  console.warn('\n*** SKIPPED: serve started as root with nobody to become, which only root can try ***\n');

test.skipIf(!IS_ROOT)('root with nobody to become: EX_NOUSER, saying what to create', async () => {
  const { users, spool, state } = places();
  const args = ['serve', '--listen', '127.0.0.1:0', '--users', users, '--spool', spool, '--state-dir', state];
  await expectRefused(args, EX.NOUSER, /no user mbox-pop3d to become: create it with "useradd [^"]*"/, {});
  await expectRefused([...args, '--user', 'root'], EX.CONFIG, '--user root', {});
  await expectRefused([...args, '--user', 'no-such-user'], EX.NOUSER, '--user no-such-user', {});
  await expectRefused(
    [...args, '--user', 'nobody', '--group', 'no-such-group'],
    EX.NOUSER,
    '--group no-such-group',
    {},
  );
  expect(existsSync(state)).toBe(false);
});

/** `mbox-pop3d deliver`, the program: exit codes, envelopes, what it makes, and what stops it. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { userInfo } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { endOf, PROGRAM, runDeliver, startDeliver } from '../support/deliver-command.js';
import { message, scratchDir } from '../support/mailbox.js';
import { IS_ROOT } from '../support/program.js';

// As root it becomes its user, and nobody is one on every host.
const USER = IS_ROOT ? 'nobody' : userInfo().username;
const UID = IS_ROOT ? Number(spawnSync('id', ['-u', 'nobody']).stdout) : userInfo().uid;
const TEXT = 'Subject: hello\n\nFrom here on\n>From there\n';
const QUOTED = 'Subject: hello\n\n>From here on\n>From there\n\n';
const STAMP = '[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} [0-9]{4}';

interface Place {
  readonly spool: string;
  readonly mailbox: string;
  readonly flags: readonly string[];
  content(): string;
}

/** A spool as most systems have it (1777), with a mailbox if there is content for one. */
function place(content?: string): Place {
  const root = scratchDir();
  chmodSync(root, 0o755);
  const spool = join(root, 'spool');
  mkdirSync(spool);
  chmodSync(spool, 0o1777);
  const mailbox = join(spool, USER);
  if (content !== undefined) {
    writeFileSync(mailbox, content, { mode: 0o600 });
    chownSync(mailbox, UID, statSync(mailbox).gid);
  }
  const flags = ['--spool', spool, '--state-dir', join(root, 'state'), '--runtime-dir', join(root, 'run')];
  return { spool, mailbox, flags, content: () => readFileSync(mailbox, 'latin1') };
}

test.each([
  [['-f', 'bob@example.net'], 'bob@example.net', TEXT],
  [['-f<bob@example.net>'], 'bob@example.net', `From carol@example.net Mon Jan  5 10:00:00 2026\n${TEXT}`],
  [[], 'carol@example.net', `From carol@example.net Mon Jan  5 10:00:00 2026\n${TEXT}`],
  [[], 'MAILER-DAEMON', TEXT],
  [['-f', ''], 'MAILER-DAEMON', TEXT.replaceAll('\n', '\r\n')],
  // Addresses that anybody may choose, none of which is a flag.
  [['-f', '--help'], '--help', TEXT],
  [['-f', '--spool=/'], '--spool=/', TEXT],
  [['-f', 'x y\nFrom z'], 'x_y_From_z', TEXT],
])('%j: from %s', async (args, sender, input) => {
  const { mailbox, flags, content } = place();
  expect(await runDeliver([...args, ...flags, USER], input)).toEqual({ code: 0, stderr: '' });
  expect(content()).toMatch(new RegExp(`^From ${sender} ${STAMP}\n`));
  expect(content().replace(/^.*\n/, '')).toBe(QUOTED);
  const { mode, uid } = statSync(mailbox);
  expect([mode & 0o7777, uid]).toEqual([0o600, UID]);
});

test('mboxrd, by a flag or by the environment', async () => {
  const { flags, content } = place();
  await runDeliver(['--quote', 'mboxrd', ...flags, USER], TEXT);
  await runDeliver([...flags, USER], TEXT, { env: { MBOX_POP3D_QUOTE: 'mboxrd' } });
  expect(content().match(/^>>From there$/gm)).toHaveLength(2);
});

test.each([
  [64, [], 'one user name is needed'],
  [64, ['--bad', USER], "Unknown option '--bad'"],
  [64, [USER, '-f'], 'the sender is missing'],
  [75, ['--quote', 'mboxcl', USER], 'choose of mboxo,mboxrd'],
  [75, ['--lock-timeout', 'long', USER], '--lock-timeout long: not a number'],
  [67, ['no-such-user'], 'no-such-user: no such user'],
  [67, ['../root'], 'is no user name'],
  [75, ['root'], 'root: mail is not delivered to uid 0'],
  [75, ['--users', '/nonexistent', USER], 'users file /nonexistent'],
  [75, ['--spool', '/nonexistent', USER], 'mailbox file cannot be created'],
])('exit code %i for %j', async (status, args, said) => {
  const { code, stderr } = await runDeliver(args, TEXT);
  expect({ code, stderr }).toEqual({ code: status, stderr: expect.stringContaining(said) });
  expect(stderr).toMatch(/^mbox-pop3d: [^\n]+\n$/);
});

test.each([
  ['MBOX_POP3D_LOCKS', 'dot'],
  ['MBOX_POP3D_LOCK_TIMEOUT', '-1'],
  ['MBOX_POP3D_QUOTE', 'mboxcl'],
  ['MBOX_POP3D_LOG_LEVEL', 'loud'],
])('a typing error in the environment, %s=%s, returns no mail', async (name, value) => {
  const { flags, spool } = place();
  expect(await runDeliver([...flags, USER], TEXT, { env: { [name]: value } })).toMatchObject({ code: 75 });
  expect(readdirSync(spool)).toEqual([]);
});

test('no message at all is none', async () => {
  const { flags, spool } = place();
  expect(await runDeliver([...flags, USER], '')).toMatchObject({ code: 75, stderr: /no message/ });
  expect(readdirSync(spool)).toEqual([]);
});

test.each<[string, (place: Place) => void, string]>([
  ['no mbox', ({ mailbox }) => writeFileSync(mailbox, 'garbage\n'), 'not in mbox format'],
  ['a link', ({ mailbox, spool }) => symlinkSync(join(spool, 'other'), mailbox), 'symbolic link'],
  ['a FIFO', ({ mailbox }) => void spawnSync('mkfifo', [mailbox]), 'not a regular file'],
])('%s: to be tried again, and left alone', async (_what, make, said) => {
  const here = place();
  make(here);
  if (statSync(here.mailbox, { throwIfNoEntry: false })?.isFile()) chownSync(here.mailbox, UID, UID);
  const { code, stderr } = await runDeliver([...here.flags, USER], TEXT);
  expect({ code, stderr }).toEqual({ code: 75, stderr: expect.stringContaining(said) });
  expect(existsSync(join(here.spool, 'other'))).toBe(false);
});

test.each(['greeting.js', 'deliver.js', 'maildrop.js'])(
  '%s is missing, as while we are upgraded: tried again',
  name => {
    const bin = join(scratchDir(), 'bin');
    cpSync(dirname(PROGRAM), bin, { recursive: true });
    rmSync(join(bin, name));
    const { flags } = place();
    const argv = [join(bin, basename(PROGRAM)), 'deliver', ...flags, USER];
    const { status, stderr } = spawnSync(process.execPath, argv, { input: TEXT, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 75, stderr: expect.stringContaining(name) });
  },
);

test('a mailbox that is locked for too long: tried again later', async () => {
  const { flags, mailbox, content } = place(message(1));
  writeFileSync(`${mailbox}.lock`, '1\n');
  const { code, stderr } = await runDeliver(['--lock-timeout', '0.2', ...flags, USER], TEXT);
  expect({ code, stderr }).toEqual({
    code: 75,
    stderr: expect.stringContaining('locked by another program'),
  });
  expect(content()).toBe(message(1));
});

test('a limit on the size of files: the mailbox is cut back', async () => {
  const { flags, content } = place(message(1, 'x\n'.repeat(2000)));
  const args = [...flags, USER];
  const { code, stderr } = await runDeliver(args, TEXT.repeat(3000), { shell: 'ulimit -f 16' });
  expect({ code, stderr }).toEqual({ code: 75, stderr: expect.stringContaining('EFBIG') });
  expect(content()).toBe(message(1, 'x\n'.repeat(2000)));
});

describe('a mail server that is slow', () => {
  test('keeps nobody from the mailbox, and may be interrupted', async () => {
    const { flags, spool, content } = place(message(1));
    const slow = startDeliver([...flags, USER]);
    const ended = endOf(slow);
    // More than fits between the two processes: it is being read.
    await new Promise(resolve => slow.stdin!.write('x'.repeat(2_000_000), resolve));
    expect(await runDeliver([...flags, USER], TEXT)).toMatchObject({ code: 0 });
    slow.kill('SIGTERM');
    expect(await ended).toEqual({ code: 75, stderr: expect.stringContaining('interrupted by SIGTERM') });
    expect(content().match(/^From /gm)).toHaveLength(2);
    expect(readdirSync(spool)).toEqual([USER]);
  });

  test('that does not read what is said gets its exit code all the same', async () => {
    const { flags } = place('garbage\n');
    const child = spawn(process.execPath, [PROGRAM, 'deliver', ...flags, USER], {
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    child.stderr.destroy();
    child.stdin.end(TEXT);
    expect(await once(child, 'exit')).toEqual([75, null]);
  });
});

test('interrupted while it waits for a lock, it leaves none', async () => {
  const { flags, spool, mailbox, content } = place(message(1));
  // An fcntl lock: the dotlock is taken and given back again and again.
  const holder = spawn('python3', ['-c', HOLD, mailbox], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  const waiting = startDeliver(['--lock-timeout', '50', ...flags, USER]);
  const ended = endOf(waiting);
  waiting.stdin!.end(TEXT);
  while (!readdirSync(spool).includes(`${USER}.lock`)) await sleep(1);
  waiting.kill('SIGTERM');
  expect(await ended).toMatchObject({ code: 75 });
  holder.stdin.end();
  await once(holder, 'exit');
  expect(readdirSync(spool)).toEqual([USER]);
  expect(content()).toBe(message(1));
});

const HOLD =
  'import fcntl,sys; f=open(sys.argv[1],"r+"); fcntl.lockf(f,fcntl.LOCK_EX); print(flush=True); sys.stdin.read()';

test('octets arrive as they are: NULs, 8 bits, a line without an end', async () => {
  const { flags, content } = place();
  const octets = Buffer.alloc(
    600_000,
    Buffer.from(Array.from({ length: 255 }, (_, i) => (i < 10 ? i : i + 1))),
  );
  expect(await runDeliver([...flags, USER], octets)).toMatchObject({ code: 0 });
  expect(content().replace(/^.*\n/, '') === `${octets.toString('latin1')}\n\n`).toBe(true);
});

describe.skipIf(!IS_ROOT)('as root, in a spool of group mail (2775)', () => {
  const mail = Number(spawnSync('sh', ['-c', 'getent group mail | cut -d: -f3']).stdout);

  test('it becomes the user, and what it makes belongs to user and group', async () => {
    const { flags, spool, mailbox, content } = place();
    chownSync(spool, 0, mail);
    chmodSync(spool, 0o2775);
    expect(await runDeliver([...flags, USER], TEXT)).toEqual({ code: 0, stderr: '' });
    const { mode, uid, gid } = statSync(mailbox);
    expect([mode & 0o7777, uid, gid]).toEqual([0o660, UID, mail]);
    expect(await runDeliver([...flags, USER], TEXT)).toEqual({ code: 0, stderr: '' });
    expect(content().match(/^From /gm)).toHaveLength(2);
    expect(readdirSync(spool)).toEqual([USER]);
  });

  test('a user who may not write there cannot be delivered to without its group: tried again', async () => {
    const { flags, spool } = place();
    chownSync(spool, 0, mail);
    chmodSync(spool, 0o2775);
    const { code, stderr } = await runDeliver([...flags, USER], TEXT, { uid: UID, gid: UID });
    expect({ code, stderr }).toEqual({ code: 75, stderr: expect.stringContaining('EACCES') });
  });

  test('uid and gid of the users file come first', async () => {
    const { flags, spool, mailbox } = place();
    const users = join(spool, '../users');
    writeFileSync(users, 'virtual:{PLAIN}x:54321:54322\n');
    const args = [...flags, '--users', users, 'virtual'];
    expect(await runDeliver(args, TEXT)).toEqual({ code: 0, stderr: '' });
    const { uid, gid, mode } = statSync(join(spool, 'virtual'));
    expect([uid, gid, mode & 0o7777]).toEqual([54321, 54322, 0o600]);
    expect(existsSync(mailbox)).toBe(false);
  });
});

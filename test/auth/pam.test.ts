/**
 * Real PAM in a scratch host, asked by a shared server that has given root up and by a process for each
 * connection: real passwords, what modules can answer, modules that hang or crash.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished } from 'vitest';
import { decodeAnswer, encodeQuestion, FrameReader, type PamAnswer } from '../../lib/host/pam-frames.js';
import { testAsRoot } from '../doors/as-root.js';
import { SECRET } from '../doors/login.js';
import type { ScratchHost } from '../doors/scratch-host.js';
import { Pop3Client } from '../support/pop3-client.js';
import {
  CANNOT,
  descendants,
  pamService,
  perUser,
  REFUSED,
  running,
  scratch,
  shared,
  WELCOME,
} from './scratch.js';

const UNIX = ['auth required pam_unix.so', 'account required pam_nologin.so', 'account required pam_unix.so'];
const MODELS = [
  ['shared', shared],
  ['per user', perUser],
] as const;

/** A script that pam_exec runs, as a line of a service. */
function runs(host: ScratchHost, body: string): string {
  const script = join(host.root, `script-${Math.random().toString(36).slice(2)}`);
  writeFileSync(script, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  return `auth required pam_exec.so quiet expose_authtok ${script}`;
}

describe.each(MODELS)('%s', (_name, serve) => {
  testAsRoot(
    [],
    'pam_unix: right, wrong, unknown, locked, expired, nologin, and not about root',
    async () => {
      const host = await scratch();
      pamService(host, 'mbox-pop3d', ...UNIX);
      const served = await serve(host, ['--auth=pam']);
      const client = await Pop3Client.loggedIn(served.port, 'alice', SECRET);
      expect((await client.multiline('RETR 1')).content.length).toBeGreaterThan(0);
      await client.ok('QUIT');
      await client.rest();

      expect(await served.tryLogin('alice', 'wrong')).toBe(REFUSED);
      await served.logged(/login-failed user=alice reason="PAM: Authentication failure/);
      expect(await served.tryLogin('carol')).toBe(REFUSED);
      await served.logged(/login-failed user=carol reason="PAM: User not known/);
      expect(await served.tryLogin('bob')).toBe(REFUSED);
      expect(await served.tryLogin('root')).toBe(REFUSED);
      await served.logged(/login-failed user=root reason="uid or gid 0"/);
      expect(await served.tryLogin('nobody')).toBe(REFUSED);
      // The account stage: the password is right.
      host.setShadow(undefined, '20000:0:99999:7::1:');
      expect(await served.tryLogin('alice')).toBe(REFUSED);
      await served.logged(/reason="PAM: User account has expired"/);
      host.setShadow(undefined, '0:0:99999:7:::');
      expect(await served.tryLogin('alice')).toBe(REFUSED);
      await served.logged(/reason="PAM: Authentication token is no longer valid/);
      host.setShadow();
      writeFileSync(host.etc('nologin'), '');
      expect(await served.tryLogin('alice')).toBe(REFUSED);
    },
  );

  testAsRoot([], 'C44: a module gets the octets of the password, the address and nothing else', async () => {
    const host = await scratch();
    const got = join(host.root, 'got');
    const script = runs(host, `(env | grep ^PAM_ | sort; cat) >${got}`);
    pamService(host, 'other-name', script, 'account required pam_permit.so');
    const served = await serve(host, ['--auth=pam', '--pam-service=other-name']);
    for (const password of ['a\tb=\x01\xff\xe9', ' x ', 'x'.repeat(500)]) {
      expect(await served.tryLogin('alice', password)).toMatch(WELCOME);
      const [environment, secret] = readFileSync(got, 'latin1').split(/(?<=PAM_USER=alice\n)/);
      expect(environment!.trim().split('\n')).toEqual([
        'PAM_RHOST=127.0.0.1',
        'PAM_SERVICE=other-name',
        'PAM_TTY=pop3',
        'PAM_TYPE=auth',
        'PAM_USER=alice',
      ]);
      expect(secret!.replace(/\0$/, '')).toBe(password);
    }
  });

  testAsRoot(
    [],
    'a module that hangs: unavailable, killed with what it runs, and nobody else waits',
    async () => {
      const host = await scratch();
      const seconds = String(100_000 + process.pid);
      const hangs = runs(host, `exec sleep ${seconds}`);
      pamService(host, 'mbox-pop3d', hangs, 'account required pam_permit.so');
      // bob is known to the users file only, so that alice is asked about by both.
      host.setUsers('bob:{PLAIN}builder\n');
      const served = await serve(host, ['--auth=users,pam', '--auth-timeout=8', '--auth-at-once=2']);
      const tries = Array.from({ length: 4 }, () => served.tryLogin('alice'));
      await expect.poll(() => running(`sleep\0${seconds}`).length, { timeout: 20_000 }).toBeGreaterThan(1);
      expect(await served.tryLogin('bob', 'builder')).toMatch(WELCOME);
      for (const reply of await Promise.all(tries)) expect(reply).toMatch(CANNOT);
      await served.logged(/login-failed user=alice reason=SYS\/TEMP/);
      await expect.poll(() => running(`sleep\0${seconds}`), { timeout: 20_000 }).toEqual([]);
      // And it works again.
      pamService(host, 'mbox-pop3d', ...UNIX);
      expect(await served.tryLogin('alice')).toMatch(WELCOME);
    },
  );

  testAsRoot([], 'C49: a module that crashes: this login fails, others do not', async () => {
    const host = await scratch();
    // Of pam_exec's child, the parent is the process that asks PAM.
    const crashes = runs(host, 'test "$PAM_USER" != bob || { kill -SEGV $PPID; sleep 1; }');
    pamService(host, 'mbox-pop3d', crashes, ...UNIX.map(line => line.replace('.so', '.so try_first_pass')));
    const served = await serve(host, ['--auth=pam']);
    const [crash, ...others] = await Promise.all([
      served.tryLogin('bob'),
      served.tryLogin('alice', 'wrong'),
      served.tryLogin('alice', 'wrong'),
    ]);
    expect(crash).toMatch(CANNOT);
    expect(others).toEqual([REFUSED, REFUSED]);
    await served.logged(/process for PAM ended: SIGSEGV/);
    expect(await served.tryLogin('alice')).toMatch(WELCOME);
  });

  testAsRoot([], 'C54: in the order of --auth, each by its own password', async () => {
    const host = await scratch();
    pamService(host, 'mbox-pop3d', ...UNIX);
    host.setUsers('alice:{PLAIN}of the file\nbob:{PLAIN}of bob\n');
    const served = await serve(host, ['--auth=users,pam']);
    expect(await served.tryLogin('alice', 'of the file')).toMatch(WELCOME);
    expect(await served.tryLogin('alice')).toMatch(WELCOME);
    expect(await served.tryLogin('alice', 'of bob')).toBe(REFUSED);
    await served.logged(/reason="wrong password; PAM: Authentication failure"/);
    // Locked in the one, let in by the other.
    expect(await served.tryLogin('bob', 'of bob')).toMatch(WELCOME);
    expect(await served.tryLogin('bob')).toBe(REFUSED);
  });
});

/** What pam_debug is told to answer, and what the client hears. */
const ANSWERS: [stage: string, answer: string, hears: RegExp][] = [
  ['auth', 'success', WELCOME],
  ['auth', 'auth_err', /^-ERR \[AUTH\]/],
  ['auth', 'user_unknown', /^-ERR \[AUTH\]/],
  ['auth', 'maxtries', /^-ERR \[AUTH\]/],
  ['auth', 'perm_denied', /^-ERR \[AUTH\]/],
  ['auth', 'cred_expired', /^-ERR \[AUTH\]/],
  ['acct', 'acct_expired', /^-ERR \[AUTH\]/],
  ['acct', 'new_authtok_reqd', /^-ERR \[AUTH\]/],
  ['acct', 'authtok_expired', /^-ERR \[AUTH\]/],
  ['acct', 'perm_denied', /^-ERR \[AUTH\]/],
  ['auth', 'authinfo_unavail', CANNOT],
  ['auth', 'system_err', CANNOT],
  ['auth', 'service_err', CANNOT],
  ['auth', 'open_err', CANNOT],
  ['auth', 'buf_err', CANNOT],
  ['auth', 'conv_err', CANNOT],
  ['auth', 'abort', CANNOT],
  ['auth', 'cred_insufficient', CANNOT],
  ['acct', 'authinfo_unavail', CANNOT],
  ['acct', 'system_err', CANNOT],
];

testAsRoot([], 'what modules answer, and what the client hears', async () => {
  const host = await scratch();
  pamService(host, 'mbox-pop3d', 'auth required pam_permit.so');
  const served = await shared(host, ['--auth=pam']);
  for (const [stage, answer, hears] of ANSWERS) {
    const other = stage === 'auth' ? 'acct=success' : 'auth=success';
    const lines = ['auth', 'account'].map(
      type => `${type} requisite pam_debug.so ${stage}=${answer} ${other}`,
    );
    pamService(host, 'mbox-pop3d', ...lines);
    expect(await served.tryLogin('alice', 'x'), `${stage}=${answer}`).toMatch(hears);
  }
  // No module at all, or a broken file, is no yes.
  for (const lines of [
    [],
    ['nonsense'],
    ['auth required pam_not_there.so'],
    ['auth required pam_permit.so'],
  ]) {
    pamService(host, 'mbox-pop3d', ...lines);
    expect(await served.tryLogin('alice', 'x'), lines.join()).toMatch(/^-ERR /);
  }
});

testAsRoot([], 'the delays of modules are not waited for', async () => {
  const host = await scratch();
  // Longer than an answer may take.
  pamService(host, 'mbox-pop3d', 'auth optional pam_faildelay.so delay=120000000', ...UNIX);
  const served = await shared(host, ['--auth=pam', '--auth-timeout=50']);
  expect(await served.tryLogin('alice', 'wrong')).toBe(REFUSED);
});

testAsRoot([], 'C50: a hundred logins in flight and one who babbles: a hundred succeed', async () => {
  const host = await scratch();
  pamService(host, 'mbox-pop3d', 'auth required pam_permit.so', 'account required pam_permit.so');
  const served = await shared(host, [
    '--auth=pam',
    '--auth-timeout=100',
    '--login-timeout=110',
    '--max-connections-per-address=200',
  ]);
  const logins = Array.from({ length: 100 }, (_, n) => served.tryLogin(`user${n}`));
  const babbler = await Pop3Client.greeted(served.port);
  babbler.send('USER \xff\0\x01\r\nPASS \xff\0\r\nUSER alice\r\nPASS a\0b\r\n');
  for (const reply of await Promise.all(logins)) expect(reply).toMatch(WELCOME);
});

describe('what root leaves behind', () => {
  testAsRoot([], 'the server is not root, its helper is, and ends with it: stopped, or killed', async () => {
    const host = await scratch();
    pamService(host, 'mbox-pop3d', ...UNIX);
    for (const end of ['SIGTERM', 'SIGKILL'] as const) {
      const { running: server, tryLogin } = await shared(host, ['--auth=pam']);
      expect(await tryLogin('alice')).toMatch(WELCOME);
      expect(new Set(server.status('Uid'))).toEqual(new Set(['61100']));
      const helpers = descendants(server.pid);
      expect(helpers.map(({ command }) => /pam-\w+\.js/.exec(command)?.[0])).toEqual([
        'pam-keep.js',
        'pam-worker.js',
      ]);
      for (const { pid } of helpers) {
        expect(readFileSync(`/proc/${pid}/status`, 'latin1')).toMatch(/^Uid:\t0\t0\t0\t0$/m);
        expect(readFileSync(`/proc/${pid}/environ`, 'latin1')).not.toMatch(/MBOX|HOME/);
      }
      server.child.kill(end);
      await server.exited;
      const left = () => helpers.filter(({ pid, command }) => running(command.split(' ')[2]!).includes(pid));
      await expect.poll(left, { timeout: 20_000 }).toEqual([]);
    }
  });

  testAsRoot([], 'without it: unavailable, in the log, and other backends go on', async () => {
    const host = await scratch();
    pamService(host, 'mbox-pop3d', ...UNIX);
    host.setUsers('bob:{PLAIN}builder\n');
    const served = await shared(host, ['--auth=users,pam']);
    expect(await served.tryLogin('alice')).toMatch(WELCOME);
    process.kill(descendants(served.running.pid)[0]!.pid, 'SIGKILL');
    await served.logged(/ pam-unavailable reason="root's process for PAM ended: SIGKILL"/);
    expect(await served.tryLogin('alice')).toMatch(CANNOT);
    expect(await served.tryLogin('bob', 'builder')).toMatch(WELCOME);
    expect(await served.running.stop()).toBe(0);
  });

  testAsRoot([], 'C45: of a process that has become its user, nothing of PAM is left', async () => {
    const host = await scratch();
    pamService(host, 'mbox-pop3d', ...UNIX);
    const { port, door } = await perUser(host, ['--auth=pam']);
    const client = await Pop3Client.loggedIn(port, 'alice', SECRET);
    expect(descendants(door.children[0]!.pid!)).toEqual([]);
    await client.ok('QUIT');
  });
});

describe('what it does for whoever has taken control of the server', () => {
  const KEEP = new URL('../../dist/lib/host/pam-keep.js', import.meta.url).pathname;

  /** The process itself, as a server starts it, where PAM would let everybody in. */
  async function keptBy(host: ScratchHost) {
    appendFileSync(host.etc('passwd'), 'system:x:999:999::/nonexistent:/bin/false\n');
    pamService(host, 'anything', 'auth required pam_permit.so', 'account required pam_permit.so');
    const [file, ...args] = host.inside([process.execPath, KEEP, 'anything', '1000', '4', '15000']);
    const child = spawn(file!, args, { env: {}, stdio: ['pipe', 'pipe', 'inherit'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    const answers: PamAnswer[] = [];
    const reader = new FrameReader();
    child.stdin.on('error', () => {});
    child.stdout.on('data', chunk => reader.read(chunk, frame => answers.push(decodeAnswer(frame))));
    return { child, answers };
  }

  const question = (user: string, password = 'x', address = '192.0.2.7') =>
    encodeQuestion(1, { user, password: Buffer.from(password), address });

  testAsRoot([], 'it asks about users, not about root and the system', async () => {
    const { child, answers } = await keptBy(await scratch());
    for (const user of ['root', 'system', 'alice', 'not-in-passwd']) {
      const before = answers.length;
      child.stdin.write(question(user));
      await expect.poll(() => answers.length, { timeout: 20_000 }).toBe(before + 1);
    }
    expect(answers.map(({ verdict, user }) => `${verdict} ${user}`.trim())).toEqual([
      'refused',
      'refused',
      'right alice',
      'right not-in-passwd',
    ]);
    child.stdin.end();
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  const oneMore = Buffer.concat([question('alice'), Buffer.of(0)]);
  oneMore.writeUInt16BE(oneMore.length - 2, 0);
  const frames: [string, Buffer][] = [
    ['zeros', Buffer.alloc(10_000)],
    ['ones', Buffer.alloc(10_000, 0xff)],
    ['a name that is a path', question('../../etc/passwd')],
    ['a name with a line end', question('alice\n')],
    ['a name too long', question('a'.repeat(65))],
    ['no password', question('alice', '')],
    ['a password with a NUL', question('alice', 'x\0y')],
    ['a password too long', question('alice', 'x'.repeat(512))],
    ['an address that is none', question('alice', 'x', '192.0.2.7\n')],
    ['an octet more', oneMore],
  ];
  testAsRoot([], 'what is no question ends it', async () => {
    const host = await scratch();
    for (const [name, octets] of frames) {
      const { child, answers } = await keptBy(host);
      child.stdin.write(octets);
      expect(await once(child, 'exit'), name).toEqual([1, null]);
      expect(answers, name).toEqual([]);
    }
  });
});

testAsRoot([], 'what is missing is said at start, with the remedy', async () => {
  const host = await scratch();
  const failing = (...args: Parameters<typeof shared>) => shared(...args).then(() => 'ready', String);
  expect(await failing(host, ['--auth=pam'])).toMatch(
    /no \/etc\/pam\.d\/mbox-pop3d: copy etc\/pam\.d\/mbox-pop3d/,
  );
});

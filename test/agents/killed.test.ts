/**
 * A server that is killed between moving what is kept and cutting off the rest, when the mailbox file is neither what it
 * was nor what it will be: real programs that lock it are kept from it, though the process of the lock is dead, until the
 * next login or the next start has finished it; then every message is there once.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import { testAsRoot } from '../doors/as-root.js';
import { message, messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { AgentHost, PASSWORD } from './agent-host.js';
import { Imap, startDovecot } from './dovecot.js';
import { fillMailbox, serve, startServer } from './our-server.js';

const USER = 'alice';
const MAIL = messages(6);
const OLD = MAIL.join('');
const NEW = [1, 3, 5, 6].map(n => MAIL[n - 1]!).join('');

const logIn = (port: number) => Pop3Client.loggedIn(port, USER, PASSWORD);
const dotlock = (host: AgentHost) => `${host.mailbox(USER)}.lock`;

/**
 * Makes each fsync(2) of a process take some seconds: the window is open for as long, and on a slow host, too, who looks
 * for it comes in time.
 */
async function slowDown(pid: number): Promise<void> {
  const rule = ['-e', 'trace=fsync', '-e', 'inject=fsync:delay_enter=1500000'];
  const tracer = spawn('strace', ['-f', '-p', String(pid), '-o', '/dev/null', ...rule], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  onTestFinished(() => void tracer.kill());
  await once(tracer.stderr!, 'data');
}

/** The process that has the session. */
function holderOf(host: AgentHost): number {
  const run = join(host.root, 'shared/run');
  const [record] = readdirSync(run).filter(name => name.endsWith('.session'));
  return Number(readFileSync(join(run, record!), 'latin1').split(' ')[0]);
}

/** Deletes the second and the fourth message, until all is moved and nothing cut off. */
async function halfDone(host: AgentHost, ...flags: string[]) {
  const { port } = await startServer(host, ...flags);
  const session = await logIn(port);
  await session.ok('DELE 2');
  await session.ok('DELE 4');
  const pid = holderOf(host);
  await slowDown(pid);
  const answer = session.ask('QUIT').catch(() => 'none');
  while (!host.content(USER).startsWith(NEW)) await sleep(1);
  return { port, pid, answer };
}

/** Kills the process that serves then. @returns the port of its server */
async function killedHalfDone(host: AgentHost, ...flags: string[]): Promise<number> {
  const { port, pid, answer } = await halfDone(host, ...flags);
  process.kill(pid, 'SIGKILL');
  expect(await answer).toBe('none');
  return port;
}

function expectHalfDone(host: AgentHost): void {
  expect(host.content(USER)).toHaveLength(OLD.length);
  expect(readFileSync(dotlock(host), 'latin1')).toMatch(/^mbox-pop3d UPDATE [0-9a-f]{32}\n$/);
}

async function hostWithMail(): Promise<AgentHost> {
  const host = await AgentHost.create([USER]);
  onTestFinished(() => host.close());
  fillMailbox(host, USER, OLD);
  return host;
}

const PROGRAMS = ['dovecot', 'dotlockfile', 'lockfile', 'mutt_dotlock', 'strace', 'nsenter'];

testAsRoot(
  PROGRAMS,
  'Dovecot, mutt, dotlockfile and procmail do not get the lock; the next login finishes it',
  async () => {
    const host = await hostWithMail();
    const other = await serve(host);
    const dovecot = await startDovecot(host, 'mbox_lock_timeout = 4s\n');
    await killedHalfDone(host);
    expectHalfDone(host);
    const [half, { ino }] = [host.content(USER), statSync(dotlock(host))];

    const imap = await Imap.loggedIn(dovecot.imap, USER);
    const expunge = async () => {
      await imap.ask('SELECT INBOX');
      await imap.ask('STORE 1 +FLAGS (\\Deleted)');
      await imap.ask('EXPUNGE');
    };
    await expect(expunge()).rejects.toThrow(/lock/i);
    imap.close();
    const lock = dotlock(host);
    const tries: [readonly string[], number][] = [
      [['dotlockfile', '-p', '-l', '-r', '1', '-i', '1', lock], 4],
      [['lockfile', '-1', '-r', '1', lock], 73],
      [['mutt_dotlock', '-r', '1', host.mailbox(USER)], 3],
    ];
    for (const [argv, refused] of tries) {
      expect([argv[0], (await host.run(argv)).code]).toEqual([argv[0], refused]);
    }
    expect([host.content(USER), statSync(lock).ino]).toEqual([half, ino]);

    const session = await logIn(other);
    expect(await session.ok('STAT')).toMatch(/^\+OK 4 /);
    expect(host.content(USER)).toBe(NEW);
    await session.ok('QUIT');
    // Nobody is in anybody's way any more.
    const after = await Imap.loggedIn(dovecot.imap, USER);
    await after.ask('SELECT INBOX');
    await after.ask('STORE 1 +FLAGS (\\Deleted)');
    await after.ask('EXPUNGE');
    await after.ask('LOGOUT');
    const left = await logIn(other);
    expect(await left.ok('STAT')).toMatch(/^\+OK 3 /);
    await left.ok('QUIT');
  },
);

testAsRoot(
  ['maildrop', 'strace', 'nsenter'],
  'the next start finishes it, and a delivery that waited comes behind it',
  async () => {
    const host = await hostWithMail();
    await killedHalfDone(host);
    expectHalfDone(host);
    const half = host.content(USER);
    const delivery = host.run(['maildrop', '-f', 'bob@example.net', '-d', USER], { input: message(7) });
    await sleep(2000);
    expect(host.content(USER)).toBe(half);
    const port = await serve(host, '--lock-yield=0');
    while (!host.content(USER).startsWith(NEW) || host.content(USER).length === half.length) await sleep(10);
    expect(await delivery).toMatchObject({ code: 0 });
    expect(host.content(USER).slice(0, NEW.length)).toBe(NEW);
    const session = await logIn(port);
    expect(await session.ok('STAT')).toMatch(/^\+OK 5 /);
    await session.ok('QUIT');
  },
);

testAsRoot(
  ['strace', 'nsenter'],
  'a worker is killed: its supervisor finishes it at once, without a login',
  async () => {
    const host = await hostWithMail();
    const port = await killedHalfDone(host, '--workers=2');
    while (host.content(USER) !== NEW) await sleep(1);
    const session = await logIn(port);
    expect(await session.ok('STAT')).toMatch(/^\+OK 4 /);
    await session.ok('QUIT');
  },
);

testAsRoot(
  ['dotlockfile', 'strace', 'nsenter'],
  'a server that is only stopped then keeps what it has, and finishes it itself',
  async () => {
    const host = await hostWithMail();
    const other = await serve(host);
    const { pid, answer } = await halfDone(host);
    process.kill(pid, 'SIGSTOP');
    expectHalfDone(host);
    const [half, { ino }] = [host.content(USER), statSync(dotlock(host))];

    await expect(logIn(other)).rejects.toThrow('[IN-USE]');
    const [node, program, ...flags] = host.program('shared', []);
    const recover = await host.run([node!, program!, 'recover', ...flags, USER]);
    expect(recover.stdout).toMatch(/^alice: a POP3 session has it/);
    const lock = ['dotlockfile', '-p', '-l', '-r', '1', '-i', '1', dotlock(host)];
    expect((await host.run(lock)).code).toBe(4);
    expect([host.content(USER), statSync(dotlock(host)).ino]).toEqual([half, ino]);

    process.kill(pid, 'SIGCONT');
    expect(await answer).toMatch(/^\+OK /);
    expect(host.content(USER)).toBe(NEW);
    const session = await logIn(other);
    expect(await session.ok('STAT')).toMatch(/^\+OK 4 /);
    await session.ok('QUIT');
  },
);

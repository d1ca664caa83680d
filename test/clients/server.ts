/**
 * The real server as a process of its own, over a scratch copy of the example mailboxes. As root the
 * copy is given to `nobody`, which the server becomes; as an ordinary user it all stays ours.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { FIXTURES } from './expected.js';

const PROGRAM = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;
const IS_ROOT = process.geteuid!() === 0;

/** How a client is to use TLS. */
export interface UnderTls {
  readonly how: 'implicit' | 'stls';
  /** The file of the certificate to trust; it is for `localhost`. */
  readonly ca: string;
}

export interface RunningServer {
  readonly port: number;
  /** The port of TLS from the first octet; 0 where there is none. */
  readonly tlsPort: number;
  /** Undefined for a client that is to do without. */
  readonly tls?: UnderTls;
  readonly pid: number;
  readonly spool: string;
  /** A directory for what clients need and leave. */
  readonly scratch: string;
  readonly stderr: () => string;
  /** What is in a mailbox file now. */
  mailbox(name: string): string;
  /** Ends the server; a client may close its connection before its session is over here. */
  stop(): Promise<void>;
}

/** The password of every example account. */
export const passwordOf = (user: string) => `secret-${user}`;

/** Starts `mbox-pop3d serve`; killed after the test. @param flags added to the command line */
export async function startServer(...flags: string[]): Promise<RunningServer> {
  const root = mkdtempSync(join(tmpdir(), 'mbox-pop3d-clients-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const [spool, users, state, scratch] = ['spool', 'users', 'state', 'client'].map(name =>
    join(root, name),
  ) as [string, string, string, string];
  const { uid, gid } = serverIds();
  for (const dir of [spool, state, scratch]) mkdirSync(dir, { mode: 0o700 });
  copyMailboxes(spool);
  writeFileSync(users, usersFile(uid, gid), { mode: 0o600 });
  if (IS_ROOT) {
    const mailboxes = readdirSync(spool).map(name => join(spool, name));
    for (const path of [root, spool, users, state, ...mailboxes]) chownSync(path, uid, gid);
  }
  const identity = IS_ROOT ? ['--user', 'nobody', '--group', 'nogroup'] : [];
  const args = ['--listen', '127.0.0.1:0', '--spool', spool, '--users', users, '--state-dir', state];
  const child = spawn(process.execPath, [PROGRAM, 'serve', ...args, ...identity, ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const { port, tlsPort } = await readyPorts(child, () => stderr);
  return {
    port,
    tlsPort,
    pid: child.pid!,
    spool,
    scratch,
    stderr: () => stderr,
    mailbox: name => readFileSync(join(spool, name), 'latin1'),
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      // `close`, not `exit`: when all of its log is here.
      const closed = once(child, 'close');
      child.kill('SIGTERM');
      await closed;
    },
  };
}

/** The same server, for clients that use TLS. */
export function underTls(server: RunningServer, tls: UnderTls): RunningServer {
  return { ...server, tls, port: tls.how === 'implicit' ? server.tlsPort : server.port };
}

/** The ports of the ready line. */
async function readyPorts(
  child: ChildProcess,
  stderr: () => string,
): Promise<{ port: number; tlsPort: number }> {
  let stdout = '';
  child.stdout!.setEncoding('utf8');
  for await (const text of child.stdout!.iterator({ destroyOnReturn: false })) {
    stdout += text;
    const ready = /^mbox-pop3d ready on 127\.0\.0\.1:(\d+)(?:, TLS on 127\.0\.0\.1:(\d+))?\n/.exec(stdout);
    if (ready) return { port: Number(ready[1]), tlsPort: Number(ready[2] ?? 0) };
  }
  throw new Error(`the server did not start: ${stdout}${stderr()}`);
}

function serverIds(): { uid: number; gid: number } {
  if (!IS_ROOT) return { uid: process.geteuid!(), gid: process.getegid!() };
  const id = (flag: string) => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

function copyMailboxes(spool: string): void {
  for (const name of readdirSync(FIXTURES)) {
    if (name === 'users' || name.endsWith('.json') || name.includes('.')) continue;
    copyFileSync(join(FIXTURES, name), join(spool, name));
    chmodSync(join(spool, name), 0o600);
  }
}

/** The example users, each with the owner of the copies, whoever has that name on this host. */
function usersFile(uid: number, gid: number): string {
  const lines = readFileSync(join(FIXTURES, 'users'), 'utf8').split('\n');
  return lines
    .map(line => (/^[a-z]/.test(line) ? `${line.split(':', 2).join(':')}:${uid}:${gid}` : line))
    .join('\n');
}

/**
 * `mbox-pop3d serve` as a process over files of the test's own, as an ordinary user: ourselves, or
 * `nobody` when the tests run as root.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { IS_ROOT, launch, type Running, type RunOptions } from './program.js';
import { passwordOf } from './real-server.js';

/** Whom the server runs as, and whose the mailbox files are. */
export const SERVED_BY = IS_ROOT ? nobody() : { uid: process.geteuid!(), gid: process.getegid!() };

export interface ServePlaces {
  readonly root: string;
  readonly spool: string;
  readonly users: string;
  readonly state: string;
  mailbox(user: string): string;
  content(user: string): string;
}

/**
 * A spool and a users file that belong to `SERVED_BY`, gone after the test; the state directory is for the
 * server to make.
 * @param mailboxes user → content of the mailbox file; each gets the password of `passwordOf`
 */
export function servePlaces(mailboxes: Readonly<Record<string, string | Uint8Array>>): ServePlaces {
  const root = mkdtempSync(join(tmpdir(), 'mbox-pop3d-test-'));
  const { uid, gid } = SERVED_BY;
  const [spool, users, state] = [join(root, 'spool'), join(root, 'users'), join(root, 'state')];
  onTestFinished(() => {
    // As an ordinary user, what was made unreadable must be readable to be removed.
    for (const dir of [spool, state]) if (existsSync(dir)) chmodSync(dir, 0o700);
    rmSync(root, { recursive: true, force: true });
  });
  const mailbox = (user: string) => join(spool, user);
  mkdirSync(spool, { mode: 0o700 });
  for (const [user, content] of Object.entries(mailboxes)) {
    const data = typeof content === 'string' ? Buffer.from(content, 'latin1') : content;
    writeFileSync(mailbox(user), data, { mode: 0o600 });
  }
  const names = Object.keys(mailboxes);
  const lines = names.map(user => `${user}:{PLAIN}${passwordOf(user)}:${uid}:${gid}\n`);
  writeFileSync(users, lines.join(''), { mode: 0o600 });
  for (const path of [root, spool, users, ...names.map(mailbox)]) chownSync(path, uid, gid);
  const content = (user: string) => readFileSync(mailbox(user), 'latin1');
  return { root, spool, users, state, mailbox, content };
}

/** The flags that every `serve` over these places needs; `--listen` an ephemeral port. */
export function flagsFor({ spool, users, state }: ServePlaces): string[] {
  return ['serve', '--listen', '127.0.0.1:0', '--spool', spool, '--users', users, '--state-dir', state];
}

/** Starts it as the ordinary user and waits until it is ready. */
export async function serving(
  places: ServePlaces,
  flags: readonly string[] = [],
  options: RunOptions = {},
): Promise<{ server: Running; port: number }> {
  const server = launch([...flagsFor(places), ...flags], { ...(IS_ROOT && SERVED_BY), ...options });
  return { server, port: await server.port() };
}

function nobody(): { uid: number; gid: number } {
  const id = (flag: string) => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

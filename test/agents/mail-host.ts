/**
 * A host for a mail server, made of a scratch directory: its own /etc, by a private mount namespace, with
 * a user alice, and a spool. What runs `inside` sees that /etc; everything else is the real host. Root only.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';

export const ALICE = { uid: 54321, gid: 54321 };

const PROGRAM = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;

export type SpoolKind = '1777' | '2775 root:mail';

export class MailHost {
  readonly root = mkdtempSync('/tmp/mbox-pop3d-mta-');
  readonly spool = join(this.root, 'spool');
  readonly mailbox = join(this.spool, 'alice');
  readonly home = join(this.root, 'home');
  /** `mbox-pop3d deliver`, and the options that say where everything is. */
  readonly deliver =
    `${process.execPath} ${PROGRAM} deliver --spool ${this.spool} --state-dir ${this.root}/state`;

  constructor(kind: SpoolKind) {
    onTestFinished(() => rmSync(this.root, { recursive: true, force: true }));
    chmodSync(this.root, 0o755);
    for (const dir of [this.spool, this.home]) mkdirSync(dir);
    chownSync(this.home, ALICE.uid, ALICE.gid);
    if (kind !== '1777') chownSync(this.spool, 0, mailGroup());
    chmodSync(this.spool, kind === '1777' ? 0o1777 : 0o2775);
    const etc = join(this.root, 'etc');
    execFileSync('cp', ['-a', '/etc', etc]);
    // Exim does not even start without its account.
    const accounts = `alice:x:${ALICE.uid}:${ALICE.gid}::${this.home}:/bin/sh\nDebian-exim:x:64916:64916::/:/bin/sh\n`;
    appendFileSync(join(etc, 'passwd'), accounts);
    appendFileSync(join(etc, 'group'), `alice:x:${ALICE.gid}:\nDebian-exim:x:64916:\n`);
    writeFileSync(join(etc, 'hosts'), '127.0.0.1 localhost\n127.0.1.1 mail.example.test mail\n');
    writeFileSync(join(etc, 'nsswitch.conf'), 'passwd: files\ngroup: files\nhosts: files\n');
  }

  /** Makes a file below the host's directory, and the directories it takes. @returns its path */
  write(name: string, text: string): string {
    const path = join(this.root, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return path;
  }

  /** Makes alice's mailbox. */
  giveMailbox(content: string, mode: number, gid = ALICE.gid): void {
    writeFileSync(this.mailbox, content);
    chownSync(this.mailbox, ALICE.uid, gid);
    chmodSync(this.mailbox, mode);
  }

  content(): string {
    return existsSync(this.mailbox) ? readFileSync(this.mailbox, 'latin1') : '';
  }

  /** The senders of the messages in alice's mailbox, in order. */
  senders(): string[] {
    return [...this.content().matchAll(/^From (\S+) /gm)].map(match => match[1]!);
  }

  /** Mode, owner and group of alice's mailbox. */
  ownership(): [mode: string, uid: number, gid: number] {
    const { mode, uid, gid } = statSync(this.mailbox);
    return [(mode & 0o7777).toString(8), uid, gid];
  }

  /** Runs a program that sees the host's own /etc, to its end. */
  async run(command: readonly string[], input = ''): Promise<{ code: number | null; said: string }> {
    const child = this.#inside(command);
    child.stdin!.on('error', () => {});
    child.stdin!.end(input, 'latin1');
    let said = '';
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('latin1').on('data', text => {
        said += text;
      });
    }
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      // Not `close`: a daemon that was started may keep its standard error.
      child.once('exit', code => resolve({ code, said }));
    });
  }

  /** The same, for a program that must succeed. */
  async mustRun(command: readonly string[], input = ''): Promise<void> {
    const { code, said } = await this.run(command, input);
    if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}\n${said}`);
  }

  #inside(command: readonly string[]): ChildProcess {
    const script = `mount --bind ${this.root}/etc /etc && hostname mail && exec "$@"`;
    return spawn('unshare', ['-m', '-u', 'sh', '-c', script, 'sh', ...command], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: 'C' },
      timeout: 200_000,
    });
  }
}

export function mailGroup(): number {
  return Number(execFileSync('getent', ['group', 'mail'], { encoding: 'utf8' }).split(':')[2]);
}

/** Waits for something that happens in another process. */
export async function until(what: () => boolean, named: () => string): Promise<void> {
  const deadline = performance.now() + 120_000;
  while (!what()) {
    if (performance.now() > deadline) throw new Error(`in vain: ${named()}`);
    await sleep(100);
  }
}

/** A message as a client hands it in, and how it ends up in a mailbox after its header. */
export const TEXT = 'Subject: hello\n\nFrom here on\n.\n>From there\n';
export const QUOTED = '\n\n>From here on\n.\n>From there\n\n';

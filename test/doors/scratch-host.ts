/**
 * A host of the tests' own, as far as a POP3 server can see: accounts in /etc/passwd and /etc/shadow, a
 * syslog daemon behind /dev/log, a spool, a users file. Commands run in it by enter.sh, as root, in a mount
 * namespace; ids are numbers that nobody has here.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
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
import { messages } from '../support/mailbox.js';
import { MAIL, SERVICE } from './kinds.js';

export { MAIL, SERVICE };

export const PROGRAM = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;
const ENTER = new URL('./enter.sh', import.meta.url).pathname;

export const ALICE = { uid: 61_001, gid: 61_001 };
export const BOB = { uid: 61_002, gid: 61_002 };
export const PASSWORD = 'sesame, \u00f6ffne dich';

const PASSWD = `root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
mbox-pop3d:x:${SERVICE.uid}:${SERVICE.gid}::/nonexistent:/usr/sbin/nologin
alice:x:${ALICE.uid}:${ALICE.gid}::/nonexistent:/bin/sh
bob:x:${BOB.uid}:${BOB.gid}::/nonexistent:/bin/sh
`;
const GROUP = `root:x:0:
mail:x:${MAIL}:
nogroup:x:65534:
mbox-pop3d:x:${SERVICE.gid}:
alice:x:${ALICE.gid}:
bob:x:${BOB.gid}:
`;

export class ScratchHost {
  readonly root = mkdtempSync(join(tmpdir(), 'mbox-pop3d-doors-'));
  readonly spool = join(this.root, 'spool');
  readonly state = join(this.root, 'state');
  readonly users = join(this.root, 'users');
  #log = '';
  #syslogd: ChildProcess | undefined;

  private constructor() {
    onTestFinished(() => {
      this.#syslogd?.kill('SIGKILL');
      rmSync(this.root, { recursive: true, force: true });
    });
    chmodSync(this.root, 0o755);
    for (const name of ['spool', 'etc', 'dev', 'dev/shm']) mkdirSync(join(this.root, name));
    for (const name of ['null', 'zero', 'full', 'random', 'urandom'])
      writeFileSync(join(this.root, 'dev', name), '');
    for (const name of ['ld.so.cache', 'localtime', 'nsswitch.conf', 'services', 'protocols', 'hosts']) {
      if (existsSync(`/etc/${name}`)) cpSync(`/etc/${name}`, this.etc(name), { dereference: true });
    }
    writeFileSync(this.etc('passwd'), PASSWD);
    writeFileSync(this.etc('group'), GROUP);
    this.setShadow();
    this.setUsers(`alice:{PLAIN}${PASSWORD}\nbob:{PLAIN}${PASSWORD}\n`);
    this.setSpool(0o2775, MAIL);
  }

  static async create(): Promise<ScratchHost> {
    const host = new ScratchHost();
    await host.#startSyslog();
    return host;
  }

  etc(name: string): string {
    return join(this.root, 'etc', name);
  }

  /** root's, of this mode and group. */
  setSpool(mode: number, gid: number): void {
    chownSync(this.spool, 0, gid);
    chmodSync(this.spool, mode);
  }

  /** @param fields from the third on, as shadow(5) has them */
  setShadow(hash = yescrypt(PASSWORD), fields = '20000:0:99999:7:::'): void {
    writeFileSync(
      this.etc('shadow'),
      `root:*:20000:0:99999:7:::\nalice:${hash}:${fields}\nbob:!:20000:0:99999:7:::\n`,
    );
    chmodSync(this.etc('shadow'), 0o640);
  }

  setUsers(lines: string): void {
    writeFileSync(this.users, lines);
    chownSync(this.users, 0, MAIL);
    chmodSync(this.users, 0o640);
  }

  /** As systemd and a package make it for a service account. */
  makeState({ uid, gid }: { uid: number; gid: number }, mode = 0o700): void {
    mkdirSync(this.state);
    chownSync(this.state, uid, gid);
    chmodSync(this.state, mode);
  }

  mailbox(user: string): string {
    return join(this.spool, user);
  }

  /** A mailbox file as a delivery agent makes it. */
  fill(user: string, mail: string, owner: { uid: number; gid: number }, mode = 0o600): void {
    writeFileSync(this.mailbox(user), mail, 'latin1');
    chownSync(this.mailbox(user), owner.uid, owner.gid);
    chmodSync(this.mailbox(user), mode);
  }

  content(user: string): string {
    return readFileSync(this.mailbox(user), 'latin1');
  }

  /** Names in the spool. */
  spoolNames(): string[] {
    return readdirSync(this.spool).sort();
  }

  /** The flags that every door needs; a super-server's line cannot hold blanks. */
  get flags(): string[] {
    return [`--spool=${this.spool}`, `--users=${this.users}`, `--state-dir=${this.state}`];
  }

  /** The program by its absolute path, for a line of inetd.conf or the like. */
  program(...flags: string[]): string[] {
    return [process.execPath, PROGRAM, ...this.flags, ...flags];
  }

  /** A command line that runs another in this host. */
  inside(argv: readonly string[]): string[] {
    return ['unshare', '--mount', '--propagation', 'private', ENTER, this.root, ...argv];
  }

  /** What has come to syslog, each line as `<priority>text` without time and pid. */
  get log(): string[] {
    return this.#log
      .split('\n')
      .filter(line => line !== '')
      .map(line => line.replace(/^(<\d+>)\w{3} [ \d]\d \d\d:\d\d:\d\d (?:\S+ )?mbox-pop3d\[\d+\]: /, '$1'));
  }

  /** Waits for a line of the log. */
  async logged(pattern: RegExp): Promise<string> {
    for (;;) {
      const line = this.log.find(text => pattern.test(text));
      if (line !== undefined) return line;
      await once(this.#syslogd!.stdout!, 'data');
    }
  }

  async #startSyslog(): Promise<void> {
    // Node.js has no datagram sockets of AF_UNIX.
    const program = `import socket, sys, os
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
print('', flush=True)
while True: print(s.recv(65536).decode('latin1').rstrip('\\0').replace('\\n', ' '), flush=True)`;
    this.#syslogd = spawn('python3', ['-c', program, join(this.root, 'dev/log')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#syslogd.stdout!.setEncoding('latin1').on('data', text => {
      this.#log += text;
    });
    await once(this.#syslogd.stdout!, 'data');
  }
}

/** As passwd(1) of Debian makes it. */
export function yescrypt(password: string): string {
  const program = `import crypt, sys; print(crypt.crypt(sys.argv[1], '$y$j9T$' + 'saltsaltsaltsalt.salt/'))`;
  const { stdout } = spawnSync('python3', ['-W', 'ignore', '-c', program, password], { encoding: 'utf8' });
  if (!stdout.startsWith('$y$')) throw new Error('no yescrypt in this libcrypt');
  return stdout.trim();
}

/** Five messages, one with lines that begin with dots. */
export const MAIL_OF_ALICE = [...messages(4), messages(1)[0]!.replace('This is', '.\n..\nThis is')];

/**
 * A host of the tests' own on which mail systems run as they do elsewhere: accounts in /etc/passwd, a spool of
 * mode 2775 and group mail, configuration files in /etc, a syslog daemon behind /dev/log. All of its programs run
 * in one mount namespace, as root; numbers of users are ones that nobody has here. Without a test framework.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { MAIL, SERVICE } from '../doors/kinds.js';
import { mustRun, REPOSITORY, type Result, type RunOptions, run, SYSTEM_PATH } from './run.js';

const PROGRAM = join(REPOSITORY, 'dist/bin/mbox-pop3d.js');
/** The users' first uid; each has a group of the same number. */
const FIRST_UID = 61_201;
/** Accounts of mail systems, with groups of the same name. */
const SYSTEM = ['postfix', 'dovecot', 'dovenull', 'Debian-exim'];
const POSTDROP = 61_190;

export const PASSWORD = 'sesame';
export const DOMAIN = 'soak.example';

export class AgentHost {
  readonly spool: string;
  readonly #children = new Set<ChildProcess>();
  #namespace = 0;

  private constructor(
    readonly root: string,
    readonly users: readonly string[],
  ) {
    this.spool = join(root, 'spool');
  }

  /** Makes one, with empty mailboxes; the agents are where MBOX_POP3D_AGENTS says, else installed. */
  static async create(users: readonly string[]): Promise<AgentHost> {
    const host = new AgentHost(mkdtempSync(join(tmpdir(), 'mbox-pop3d-agents-')), users);
    try {
      host.#furnish();
      const enter = join(REPOSITORY, 'test/agents/enter.sh');
      const keeper = host.#keep(
        spawn(
          'unshare',
          [
            '--mount',
            '--propagation',
            'private',
            enter,
            host.root,
            process.env.MBOX_POP3D_AGENTS ?? '',
          ].concat(['sh', '-c', 'echo ready; exec sleep infinity']),
          { stdio: ['ignore', 'pipe', 'inherit'] },
        ),
      );
      const [said] = await Promise.race([once(keeper.stdout!, 'data'), once(keeper, 'exit')]);
      if (String(said) !== 'ready\n') throw new Error('no mount namespace for the agents');
      host.#namespace = keeper.pid!;
      await host.#startSyslog();
      return host;
    } catch (error) {
      await host.close();
      throw error;
    }
  }

  uidOf(user: string): number {
    return FIRST_UID + this.users.indexOf(user);
  }

  mailbox(user: string): string {
    return join(this.spool, user);
  }

  content(user: string): string {
    return readFileSync(this.mailbox(user), 'latin1');
  }

  /** Writes a file below the scratch root, making its directories. @returns its path */
  write(name: string, text: string, mode = 0o644): string {
    const path = join(this.root, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { mode });
    return path;
  }

  /** A directory below the scratch root, of an account. @returns its path */
  directory(name: string, uid = 0, gid = uid, mode = 0o755): string {
    const path = join(this.root, name);
    mkdirSync(path, { recursive: true });
    chownSync(path, uid, gid);
    chmodSync(path, mode);
    return path;
  }

  systemUid(name: string): number {
    return 61_180 + SYSTEM.indexOf(name);
  }

  /** A command line that runs another in this host, as root or as a user of it. */
  inside(argv: readonly string[], user?: string): string[] {
    const enter = ['nsenter', `--mount=/proc/${this.#namespace}/ns/mnt`, '--'];
    if (user === undefined) return [...enter, ...argv];
    const uid = this.uidOf(user);
    return [...enter, 'setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--', ...argv];
  }

  run(argv: readonly string[], options: RunOptions & { user?: string } = {}): Promise<Result> {
    return run(this.inside(argv, options.user), options);
  }

  mustRun(argv: readonly string[], options: RunOptions & { user?: string } = {}): Promise<string> {
    return mustRun(this.inside(argv, options.user), options);
  }

  /** Starts a program that goes on, in a process group of its own; ended with the host. */
  start(argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [file, ...args] = this.inside(argv);
    return this.#keep(
      spawn(file!, args, {
        stdio: 'ignore',
        detached: true,
        env: { PATH: SYSTEM_PATH, LC_ALL: 'C.UTF-8' },
        ...options,
      }),
    );
  }

  /** Our program over this spool. @param state directory below the root; each run model wants its own */
  program(state: string, flags: readonly string[]): string[] {
    const [users, stateDir] = [join(this.root, 'users'), join(this.root, state)];
    const where = [`--spool=${this.spool}`, `--users=${users}`, `--state-dir=${stateDir}`];
    return [process.execPath, PROGRAM, ...where, ...flags];
  }

  /** Ends everything it has started and removes it. */
  async close(): Promise<void> {
    const children = [...this.#children].reverse();
    this.#children.clear();
    await Promise.all(children.map(child => endGroup(child)));
    rmSync(this.root, { recursive: true, force: true });
  }

  #keep(child: ChildProcess): ChildProcess {
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  #furnish(): void {
    chmodSync(this.root, 0o755);
    for (const name of ['null', 'zero', 'full', 'random', 'urandom']) this.write(`dev/${name}`, '');
    this.directory('dev/shm');
    for (const name of ['ld.so.cache', 'localtime', 'nsswitch.conf', 'services', 'protocols', 'hosts']) {
      if (existsSync(`/etc/${name}`)) {
        mkdirSync(join(this.root, 'etc'), { recursive: true });
        cpSync(`/etc/${name}`, join(this.root, 'etc', name), { dereference: true });
      }
    }
    this.#writeAccounts();
    this.directory('spool', 0, MAIL, 0o2775);
    for (const user of this.users) {
      const uid = this.uidOf(user);
      this.directory(`home/${user}`, uid, uid, 0o700);
      // As most agents of Debian make it; the shared server opens it by group mail.
      writeFileSync(this.mailbox(user), '');
      chownSync(this.mailbox(user), uid, MAIL);
      chmodSync(this.mailbox(user), 0o660);
    }
  }

  #writeAccounts(): void {
    const accounts: [string, number, string][] = [
      ['root', 0, '/root'],
      ['nobody', 65_534, '/nonexistent'],
      ['mbox-pop3d', SERVICE.uid, '/nonexistent'],
      ...SYSTEM.map((name): [string, number, string] => [name, this.systemUid(name), '/nonexistent']),
      ...this.users.map((name): [string, number, string] => [
        name,
        this.uidOf(name),
        join(this.root, 'home', name),
      ]),
    ];
    const passwd = accounts.map(([name, id, home]) => `${name}:x:${id}:${id}::${home}:/bin/sh\n`);
    const groups = accounts.map(([name, id]) => `${name === 'nobody' ? 'nogroup' : name}:x:${id}:\n`);
    this.write('etc/passwd', passwd.join(''));
    this.write('etc/group', `${groups.join('')}mail:x:${MAIL}:\npostdrop:x:${POSTDROP}:\ntty:x:5:\n`);
    const lines = this.users.map(
      name => `${name}:{PLAIN}${PASSWORD}:${this.uidOf(name)}:${this.uidOf(name)}\n`,
    );
    chownSync(this.write('users', lines.join(''), 0o640), 0, MAIL);
  }

  async #startSyslog(): Promise<void> {
    // Node.js has no datagram sockets of AF_UNIX.
    const program = `import socket, sys, os
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
print('ready', flush=True)
log = open(sys.argv[2], 'a', buffering=1, encoding='latin1')
while True: log.write(s.recv(65536).decode('latin1').rstrip('\\0\\n').replace('\\n', ' ') + '\\n')`;
    const files = [join(this.root, 'dev/log'), join(this.root, 'syslog')];
    const child = this.#keep(
      spawn('python3', ['-c', program, ...files], { stdio: ['ignore', 'pipe', 'inherit'] }),
    );
    await once(child.stdout!, 'data');
  }
}

/** Ends a process and those of its group, if it leads one. */
export async function endGroup(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exit = once(child, 'exit');
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL'); // it leads no group
  }
  await exit;
}

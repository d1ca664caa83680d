/**
 * Our servers, behind every kind of door, over one spool: those of the shared model with one state directory, those
 * that become each user with another, each for their own users. What is killed is started again. Except one daemon,
 * which lives as long as the soak, for its memory to be watched.
 */
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { openSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AgentHost, endGroup } from '../agents/agent-host.js';
import { DOORS, type Kind, SERVICE } from '../doors/kinds.js';
import { freePort } from '../support/free-port.js';

export const MODELS = ['shared', 'per-user'] as const;
export type Model = (typeof MODELS)[number];

/** Seconds; short, so that much happens. */
export const LOCK_YIELD = 2;

/** Without a kind: `serve`. */
const DAEMONS = ['serve, never killed', 'serve'] as const;

export class Server {
  port = 0;
  starts = 0;
  #child: ChildProcess | undefined;
  #ending = false;

  constructor(
    private readonly host: AgentHost,
    readonly name: string,
    readonly model: Model,
    private readonly kind: Kind | undefined,
  ) {}

  get mayBeKilled(): boolean {
    return this.name !== DAEMONS[0];
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(): Promise<void> {
    this.port ||= await freePort();
    const { host, port } = this;
    const flags = [`--lock-yield=${LOCK_YIELD}`, '--idle-exit=5', '--failure-delay=0'];
    const command = this.kind
      ? this.kind.command(
          { root: host.root, program: (...more) => host.program(this.model, [...flags, ...more]) },
          port,
          [],
        )
      : withCommand(host.program(this.model, [...flags, '--listen', `127.0.0.1:${port}`]), 'serve');
    const log = openSync(join(host.root, `log of ${this.name.replace(/\W+/g, '-')}`), 'a');
    const child = host.start(command, { stdio: ['ignore', log, log] });
    this.#child = child;
    this.starts++;
    child.once('exit', () => {
      if (this.#child === child && !this.#ending) setTimeout(() => this.#restart(), 200);
    });
    while (!listens(port)) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      await sleep(20);
    }
  }

  /** SIGTERM, and SIGKILL to what is left. */
  async end(): Promise<void> {
    this.#ending = true;
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    for (let tries = 0; tries < 100 && child.exitCode === null && child.signalCode === null; tries++)
      await sleep(50);
    await endGroup(child);
  }

  #restart(): void {
    if (!this.#ending) this.start().catch(error => process.stderr.write(`${this.name}: ${error}\n`));
  }
}

function withCommand([node, program, ...flags]: string[], command: string): string[] {
  return [node!, program!, command, ...flags];
}

export class Servers {
  private constructor(
    private readonly host: AgentHost,
    readonly all: readonly Server[],
  ) {}

  static async start(host: AgentHost): Promise<Servers> {
    host.directory('shared', SERVICE.uid, SERVICE.gid, 0o700);
    const daemons = DAEMONS.map(name => new Server(host, name, 'shared', undefined));
    const doors = DOORS.map(kind => new Server(host, kind.name, kind.model, kind));
    const servers = new Servers(host, [...daemons, ...doors]);
    for (const server of servers.all) await server.start();
    return servers;
  }

  of(model: Model): readonly Server[] {
    return this.all.filter(server => server.model === model && server.port > 0);
  }

  /** The daemon whose memory is watched. */
  get watched(): Server {
    return this.all[0]!;
  }

  /** The process that has the session on a mailbox now, or had the last one. */
  holderOf(user: string, model: Model): number | undefined {
    const path = join(realpathSync(this.host.spool), user);
    const name = createHash('sha256').update(path).digest('hex').slice(0, 32);
    const record = readFileSync(join(this.host.root, model, 'run', `${name}.session`), 'latin1');
    const pid = Number(/^(\d+) /.exec(record)?.[1]);
    return Number.isInteger(pid) && isOurs(pid) ? pid : undefined;
  }

  /** What the dotlock of a mailbox says; nothing where there is none. */
  dotlockOf(user: string): string {
    try {
      return readFileSync(`${this.host.mailbox(user)}.lock`, 'latin1');
    } catch {
      return '';
    }
  }

  /** Whether it still runs: one that was killed is a zombie until it is waited for. */
  isAlive(pid: number): boolean {
    return commandOf(pid) !== '';
  }

  /** All processes of ours, whoever started them. */
  processes(): number[] {
    return readdirSync('/proc')
      .filter(name => /^\d+$/.test(name))
      .map(Number)
      .filter(pid => isOurs(pid) && commandOf(pid).includes(this.host.root));
  }

  async end(): Promise<void> {
    await Promise.all(this.all.map(server => server.end()));
    for (const pid of this.processes()) signal(pid, 'SIGKILL');
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return ''; // it has ended
  }
}

/** A Node.js that runs our program; not inetd or nsenter, which have it on their command line, too. */
function isOurs(pid: number): boolean {
  const [program, first] = commandOf(pid).split('\0');
  return /(^|\/)node$/.test(program ?? '') && /mbox-pop3d\.js$/.test(first ?? '');
}

/** @returns whether it was there to be told */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

function listens(port: number): boolean {
  const address = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A`;
  return readFileSync('/proc/net/tcp', 'latin1').includes(address);
}

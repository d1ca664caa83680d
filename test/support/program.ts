/**
 * The command itself as a process: `dist/bin/mbox-pop3d.js`, which `npm run build` makes. Runs it to its
 * end, or starts it and waits until it is ready. As root it may be run as another user.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export const IS_ROOT = process.geteuid!() === 0;

const ROOT = new URL('../../', import.meta.url).pathname;
const PROGRAM = join(ROOT, 'dist/bin/mbox-pop3d.js');
if (!existsSync(PROGRAM)) throw new Error(`no ${PROGRAM}: npm run build`);
// It is a bundle: tsc alone does not make it.
const stale = newerThan(statSync(PROGRAM).mtimeMs);
if (stale !== undefined) throw new Error(`${stale} is newer than ${PROGRAM}: npm run build`);

function newerThan(time: number): string | undefined {
  const sources = ['bin', 'lib'].flatMap(dir =>
    readdirSync(join(ROOT, dir), { recursive: true, encoding: 'utf8' }).map(name => join(dir, name)),
  );
  return sources.find(name => name.endsWith('.ts') && statSync(join(ROOT, name)).mtimeMs > time);
}

export interface RunOptions {
  /** Added to a small environment of its own, not to ours. */
  readonly env?: Readonly<Record<string, string>>;
  /** Run as this user and group; needs root. */
  readonly uid?: number;
  readonly gid?: number;
  /** Another copy of the program. */
  readonly program?: string;
  /** Flags of Node.js itself. */
  readonly node?: readonly string[];
  /** A program and its arguments that gets node and its arguments to run. */
  readonly wrapper?: readonly string[];
}

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command until it ends by itself. */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const running = launch(args, options);
  const code = await running.exited;
  return { code, stdout: running.stdout(), stderr: running.stderr() };
}

/** A server as a process. */
export class Running {
  #stdout = '';
  #stderr = '';
  readonly exited: Promise<number | null>;

  constructor(readonly child: ChildProcess) {
    child.stdout!.setEncoding('utf8').on('data', text => {
      this.#stdout += text;
      child.emit('news');
    });
    child.stderr!.setEncoding('utf8').on('data', text => {
      this.#stderr += text;
      child.emit('news');
    });
    // `close`, not `exit`: when all output is here.
    this.exited = once(child, 'close').then(([code]) => {
      child.emit('news');
      return code;
    });
  }

  get pid(): number {
    return this.child.pid!;
  }

  readonly stdout = () => this.#stdout;
  readonly stderr = () => this.#stderr;

  /** Ports of the addresses it listens on, once it says that it is ready. */
  async ports(): Promise<number[]> {
    const ready = () => /^mbox-pop3d (?:demo, )?ready on ([^\n,]*)(?:,[^\n]*)?\n/.exec(this.#stdout);
    await this.until(() => ready() !== null);
    return ready()![1]!
      .split(' ')
      .map(address => Number(/:(\d+)$/.exec(address)![1]));
  }

  /** Ports with TLS from the first octet, once it says that it is ready. */
  async tlsPorts(): Promise<number[]> {
    const ready = () =>
      /^mbox-pop3d (?:demo, )?ready[^\n]*, TLS on ([^\n,]*)(?:,[^\n]*)?\n/.exec(this.#stdout);
    await this.until(() => ready() !== null);
    return ready()![1]!
      .split(' ')
      .map(address => Number(/:(\d+)$/.exec(address)![1]));
  }

  async port(): Promise<number> {
    return (await this.ports())[0]!;
  }

  /** Waits for something in the output. Fails when the process ends before. */
  async until(done: () => boolean): Promise<void> {
    while (!done()) {
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        await this.exited;
        if (done()) return;
        throw new Error(`the program ended: ${this.#stdout}${this.#stderr}`);
      }
      await once(this.child, 'news');
    }
  }

  /** Waits for a line on stderr that matches. */
  async logged(pattern: RegExp): Promise<void> {
    await this.until(() => pattern.test(this.#stderr));
  }

  /** @returns the exit code */
  async stop(signal: 'SIGTERM' | 'SIGINT' = 'SIGTERM'): Promise<number | null> {
    this.child.kill(signal);
    return this.exited;
  }

  /** A field of proc_pid_status(5), such as `VmRSS`; words. */
  status(field: string): string[] {
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1');
    return (new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '').split(/\s+/);
  }

  /** Resident memory in octets. @param what `VmRSS` now, `VmHWM` the most so far */
  memory(what: 'VmRSS' | 'VmHWM' = 'VmRSS'): number {
    return Number(this.status(what)[0]) * 1024;
  }
}

/** Starts the command; killed after the test. */
export function launch(args: readonly string[], options: RunOptions = {}): Running {
  const { env = {}, uid, gid = uid, program = PROGRAM, node = [], wrapper = [] } = options;
  const [file, ...rest] = [...wrapper, process.execPath, ...node, program, ...args];
  const child = spawn(file!, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, TMPDIR: process.env.TMPDIR, ...env },
    ...(uid !== undefined && { uid }),
    ...(gid !== undefined && { gid }),
  });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'close');
  });
  return new Running(child);
}

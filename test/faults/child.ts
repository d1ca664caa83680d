/**
 * A process that is meant to be killed: `one-update.mjs`, spoken with line by line, and the tracer
 * attached to its I/O thread alone. Attaching there, once everything is loaded, keeps start-up out of the
 * count, and every call counted is one of the maildrop's own: the K-th is the same at each run.
 */
import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { DIST } from './built.js';
import type { Scratch } from './scratch.js';

const SCRIPT = new URL('./one-update.mjs', import.meta.url).pathname;

/** What a run came to. */
export interface Outcome {
  /** The last word to the client, if it got one. */
  readonly said: 'ok' | 'err' | undefined;
  /** The line that said it. */
  readonly text: string;
  readonly killed: boolean;
  /** What strace(1) wrote; empty without a tracer. */
  readonly trace: string;
  /** Lines of the log. */
  readonly log: readonly string[];
}

export interface RunOptions {
  readonly marks: readonly number[];
  /** strace(1) -e expressions: what to trace and what to inject; none: no tracer. */
  readonly strace?: readonly string[];
  /** Where the tracer writes; below the scratch directory if not given. */
  readonly traceFile?: string;
  /** The thread traced: the one of the file I/O, or the main one, where the dotlock is made and removed. */
  readonly thread?: 'io' | 'main';
  /** Called between opening and UPDATE, if it gets that far. The mailbox locks are yielded then. */
  readonly beforeUpdate?: (() => void) | undefined;
  /** Called when a `signal=STOP` of `strace` has stopped the process, which then goes on. */
  readonly whileStopped?: (() => void) | undefined;
  /** Whom the process becomes before it opens anything; as root only. */
  readonly become?: { readonly uid: number; readonly gid: number } | undefined;
  /** Started through `sh -c 'COMMAND; exec "$@"'`. */
  readonly shell?: string;
}

/** Runs one session over the scratch spool, from start to its end, natural or not. */
export async function runSession(scratch: Scratch, options: RunOptions): Promise<Outcome> {
  const { dir: spool, stateDir, runtimeDir } = scratch;
  const lockYield = options.beforeUpdate === undefined ? undefined : 0;
  const settings = { spool, stateDir, runtimeDir, readOnly: false, locks: ['dotlock', 'fcntl'] };
  const { marks, become } = options;
  const job = { dist: DIST, marks, become, settings: { ...settings, lockTimeout: 1000, lockYield } };
  const command = [process.execPath, SCRIPT, JSON.stringify(job)];
  const argv =
    options.shell === undefined ? command : ['sh', '-c', `${options.shell}; exec "$@"`, 'sh', ...command];
  const child = spawn(argv[0]!, argv.slice(1), {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, UV_THREADPOOL_SIZE: '1', UV_USE_IO_URING: '0', NODE_OPTIONS: '' },
  });
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  try {
    const watch = options.whileStopped && goOnAfter(child, options.whileStopped);
    const outcome = await converse(child, ended, options, options.traceFile ?? join(scratch.root, 'trace'));
    await watch;
    return outcome;
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

async function converse(
  child: ChildProcessByStdio<Writable, Readable, null>,
  ended: Promise<[number | null, NodeJS.Signals | null]>,
  options: RunOptions,
  traceFile: string,
): Promise<Outcome> {
  child.stdin.on('error', () => {}); // It may be dead by the time we speak.
  let tracer: Tracer | undefined;
  let text = '';
  const log: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const [word, rest] = [line.split(' ', 1)[0], line.slice(line.indexOf(' ') + 1)];
    if (word === 'ready') {
      if (options.strace !== undefined) {
        const thread = options.thread === 'main' ? String(child.pid) : rest;
        tracer = await attach(thread, options.strace, traceFile);
      }
      child.stdin.write('open\n');
    } else if (word === 'opened') {
      options.beforeUpdate?.();
      child.stdin.write('update\n');
    } else if (word === 'log') log.push(rest);
    else text = line;
  }
  const [code, signal] = await ended;
  await tracer?.ended;
  if (code !== 0 && signal !== 'SIGKILL')
    throw new Error(`one-update.mjs: exit ${code}, signal ${signal}, ${text}`);
  const word = text.split(' ', 1)[0];
  return {
    said: word === 'ok' || word === 'err' ? word : undefined,
    text,
    killed: signal !== null,
    trace: tracer === undefined ? '' : readFileSync(traceFile, 'utf8'),
    log,
  };
}

/** Waits until the process is stopped, or over; a process that was stopped goes on afterwards. */
async function goOnAfter({ pid }: ChildProcess, whileStopped: () => void): Promise<void> {
  for (;;) {
    let status: string;
    try {
      status = readFileSync(`/proc/${pid}/status`, 'latin1');
    } catch {
      return; // It is over.
    }
    const [, state] = /^State:\t(\S)/m.exec(status) ?? [];
    if (state === 'Z') return;
    if (state === 'T') break;
    await new Promise(resolve => setTimeout(resolve, 2));
  }
  whileStopped();
  process.kill(pid!, 'SIGCONT');
}

interface Tracer {
  readonly ended: Promise<unknown>;
}

/** Attaches strace(1) to one thread; resolves when it counts. */
async function attach(thread: string, options: readonly string[], traceFile: string): Promise<Tracer> {
  const expressions = options.flatMap(expression => ['-e', expression]);
  const tracer = spawn('strace', ['-p', thread, '-o', traceFile, '-y', ...expressions], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(tracer, 'exit');
  let said = '';
  // Read to the end: it would die of a broken pipe, with lines unwritten.
  const attached = new Promise<void>(resolve => {
    tracer.stderr.setEncoding('utf8').on('data', text => {
      said += text;
      if (said.includes('attached')) resolve();
    });
  });
  await Promise.race([attached, ended]);
  if (!said.includes('attached')) throw new Error(`strace: ${said}`);
  return { ended };
}

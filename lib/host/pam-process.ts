/** How a process that asks PAM is started, and what it does with itself first. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { libc } from './libc.js';

/** prctl(2) */
const PR_SET_PDEATHSIG = 1;
const PR_SET_DUMPABLE = 4;
const SIGKILL = 9;

export type Helper = ChildProcessByStdio<Writable, Readable, null>;

/**
 * Starts a script of this directory: with pipes for its questions and answers, none of our other
 * descriptors, an environment of its own, and none of our flags.
 * @param script such as `pam-worker.js`
 * @throws Error when no descriptors are left for it; all else is told by its events
 */
export function startHelper(script: string, args: readonly string[]): Helper {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const helper = spawn(process.execPath, ['--max-old-space-size=64', path, ...args], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    cwd: '/',
  });
  // EMFILE and ENFILE: Node.js makes no streams then, whatever its types say, and tells by an event.
  if (helper.stdin === undefined) {
    helper.on('error', () => {});
    throw new Error(`${script} cannot be started: too many open files`);
  }
  return helper;
}

const prctl = libc.func('prctl', 'int', ['int', '...']);

/**
 * Nobody may read its memory, for it holds passwords; and it outlives the signals that make the server
 * finish what it has begun: it ends when nobody can ask any more.
 */
export function becomeHelper(): void {
  prctl(PR_SET_DUMPABLE, 'unsigned long', 0);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
}

/** Ends with whoever started it, whatever it does then. @param parent its process id */
export function endWith(parent: number): void {
  prctl(PR_SET_PDEATHSIG, 'unsigned long', SIGKILL);
  if (process.ppid !== parent) process.exit(0);
}

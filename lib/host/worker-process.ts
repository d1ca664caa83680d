/**
 * Starts a process that serves clients for us: a script of ours with a pipe to talk over and the listening
 * sockets, and none of our other descriptors.
 */
import { spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';

/** The pipe to whoever started it, in the worker. */
export const WORKER_PIPE = 3;
/** The first of its listening sockets, which follow each other. */
export const WORKER_SOCKETS = 4;

export interface WorkerProcess {
  readonly pid: number;
  readonly pipe: Duplex;
  /** Why it is gone: `SIGKILL`, or `exit code 1`. Never rejects. */
  readonly gone: Promise<string>;
  kill(): void;
}

/** What only the first process of a service may act on. */
const OURS_ALONE = [
  'NOTIFY_SOCKET',
  'LISTEN_PID',
  'LISTEN_FDS',
  'LISTEN_FDNAMES',
  'WATCHDOG_PID',
  'WATCHDOG_USEC',
];

/**
 * A worker is one of as many processes as there are processors, or more: V8's four threads that help to collect and to
 * compile would be in each other's way, and in that of the other workers.
 */
const ONE_HELPER = '--v8-pool-size=1';

/** None of ours where the sysadmin says how many; what our own command line says comes later, and counts. */
function helpers({ NODE_OPTIONS = '' }: NodeJS.ProcessEnv): string[] {
  return /--v8[-_]pool[-_]size/.test(NODE_OPTIONS) ? [] : [ONE_HELPER];
}

/** @throws Error when it cannot be started */
export function startWorker(script: string, sockets: readonly number[]): WorkerProcess {
  const env = { ...process.env };
  for (const name of OURS_ALONE) delete env[name];
  const child = spawn(process.execPath, [...helpers(env), ...process.execArgv, script], {
    stdio: ['ignore', 'ignore', 'inherit', 'pipe', ...sockets],
    env,
  });
  const { pid } = child;
  const pipe = child.stdio[WORKER_PIPE];
  const gone = new Promise<string>(resolve => {
    child.on('error', error => resolve(error.message));
    child.on('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  // EMFILE and the like; the event that follows says no more than this.
  if (pid === undefined || pipe === undefined || pipe === null)
    throw new Error(`${script} cannot be started`);
  return { pid, pipe: pipe as Duplex, gone, kill: () => child.kill('SIGKILL') };
}

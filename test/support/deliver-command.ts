/** `mbox-pop3d deliver` as a mail server starts it: a process with a message on its standard input. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';

export const PROGRAM = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;

export interface Delivered {
  readonly code: number | null;
  readonly stderr: string;
}

export interface Options {
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
  /** Started through `sh -c 'COMMAND; exec "$@"'`. */
  readonly shell?: string;
}

/** Starts it, and leaves its standard input open. */
export function startDeliver(args: readonly string[], options: Options = {}): ChildProcess {
  const { env = {}, shell, ...ids } = options;
  const command = [process.execPath, PROGRAM, 'deliver', ...args];
  const [file, ...rest] =
    shell === undefined ? command : ['sh', '-c', `${shell}; exec "$@"`, 'sh', ...command];
  const child = spawn(file!, rest, {
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { PATH: process.env.PATH, TMPDIR: process.env.TMPDIR, ...env },
    ...ids,
  });
  // It may end without having read everything.
  child.stdin!.on('error', () => {});
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  return child;
}

/** Its exit code, and what it said. */
export async function endOf(child: ChildProcess): Promise<Delivered> {
  let stderr = '';
  child.stderr!.setEncoding('utf8').on('data', text => {
    stderr += text;
  });
  const [code] = await once(child, 'close');
  return { code, stderr };
}

/** Delivers `message` (one character an octet). */
export function runDeliver(
  args: readonly string[],
  message: string | Buffer,
  options: Options = {},
): Promise<Delivered> {
  const child = startDeliver(args, options);
  child.stdin!.end(typeof message === 'string' ? Buffer.from(message, 'latin1') : message);
  return endOf(child);
}

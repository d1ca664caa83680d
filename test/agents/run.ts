/**
 * Running other people's programs to their end, without a test framework: the contention soak does so too.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Result {
  readonly code: number | null;
  /** Octets, as Latin-1. */
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds after which it is killed. */
  readonly timeout?: number;
}

/** Programs of the system first: what a user has put before them may not be for other users. */
export const SYSTEM_PATH = `/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:${process.env.PATH}`;

/** Where package.json is, from wherever this was compiled to. */
export const REPOSITORY = repository(dirname(fileURLToPath(import.meta.url)));

function repository(from: string): string {
  return existsSync(join(from, 'package.json')) ? from : repository(dirname(from));
}

/** Runs a program to its end; its input may be left unread. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
  const child = spawn(argv[0]!, argv.slice(1), {
    env: { PATH: SYSTEM_PATH, LC_ALL: 'C.UTF-8', ...options.env },
    stdio: 'pipe',
    timeout: options.timeout ?? 300_000,
    killSignal: 'SIGKILL',
  });
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  return outcome(child);
}

/** Its exit code and all it said. @throws Error when it cannot be started */
export async function outcome(child: ChildProcess): Promise<Result> {
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('latin1').on('data', text => {
      output[name] += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', code => resolve({ code, ...output }));
  });
}

/** The same, for a program that must succeed. @returns its standard output */
export async function mustRun(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(argv, options);
  if (code !== 0)
    throw new Error(`${argv.join(' ')} ended with ${code}\n${stderr}\n${stdout.slice(0, 2000)}`);
  return stdout;
}

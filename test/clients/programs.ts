/**
 * Other people's programs: whether they are there, and running them. A test of a program that is
 * missing is skipped, and says so on stderr; under CI=true, where .ci/run has installed all of them, it
 * is a failure.
 */
import { spawn, spawnSync } from 'node:child_process';
import { test } from 'vitest';

export interface Result {
  readonly code: number | null;
  /** Octets, as Latin-1. */
  readonly stdout: string;
  readonly stderr: string;
}

/** Milliseconds after which a program that hangs is killed. */
const TIME_LIMIT = 120_000;

/** Runs a program to its end; killed when it takes too long. */
export async function run(
  program: string,
  args: readonly string[],
  options: { input?: string; env?: Record<string, string>; cwd?: string } = {},
): Promise<Result> {
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', ...options.env },
    stdio: 'pipe',
    timeout: TIME_LIMIT,
    killSignal: 'SIGKILL',
  });
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '', 'latin1');
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('latin1').on('data', text => {
      output[name] += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', code => resolve({ code, ...output }));
  });
}

/** The same, for a program that must succeed. @returns its standard output */
export async function mustRun(...args: Parameters<typeof run>): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  if (code !== 0) throw new Error(`${args[0]} ended with ${code}\n${stderr}\n${stdout.slice(0, 2000)}`);
  return stdout;
}

const found = new Map<string, boolean>();

function has(command: string): boolean {
  let answer = found.get(command);
  if (answer === undefined) {
    answer = spawnSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' }).status === 0;
    found.set(command, answer);
  }
  return answer;
}

/** A test that needs these programs. */
export function testWith(programs: readonly string[], name: string, body: () => Promise<void>): void {
  const missing = programs.filter(program => !has(program));
  if (missing.length === 0) {
    test(name, body);
  } else if (process.env.CI === 'true') {
    test(name, () => {
      throw new Error(`not installed: ${missing.join(' ')}`);
    });
  } else {
    process.stderr.write(`SKIPPED: ${name}: not installed: ${missing.join(' ')}\n`);
    test.skip(name, body);
  }
}

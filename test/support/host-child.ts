/**
 * A process of its own with the native host in it, for what cannot be undone or would be felt by the
 * tests: ids, descriptors, the environment. Runs the built files (`npm test` builds first).
 */
import { spawnSync } from 'node:child_process';

const BUILT = new URL('../../dist/lib/host/load.js', import.meta.url).href;

/** `argv[1]` of `node -e` and what follows: a program with `host` in it. */
export function hostProgram(body: string): string[] {
  return [
    '--input-type=module',
    '-e',
    `import * as fs from 'node:fs';
const { host, degraded } = await (await import(${JSON.stringify(BUILT)})).loadHost();
if (degraded !== undefined) throw new Error(degraded);
/** Ids of every thread, as the kernel has them; one line when all are alike. */
const ids = () => [...new Set(fs.readdirSync('/proc/self/task').map(thread =>
  fs.readFileSync('/proc/self/task/' + thread + '/status', 'latin1')
    .match(/^(Uid|Gid|Groups):.*$/gm).join(' ').replace(/\\s+/g, ' ').trim()))];
/** What a call returns, or the message of what it throws. */
const attempt = call => { try { return call(); } catch (error) { return error.message; } };
const print = value => console.log(JSON.stringify(value));
${body}`,
  ];
}

export interface Outcome {
  /** What `print` was given, in order. */
  readonly printed: unknown[];
  readonly stderr: string;
  readonly status: number | null;
}

/** Runs the program to its end. @param prefix a program that starts ours, with its arguments */
export function runHost(body: string, env: NodeJS.ProcessEnv = {}, prefix: string[] = []): Outcome {
  const [command, ...args] = [...prefix, process.execPath, ...hostProgram(body)];
  const child = spawnSync(command!, args, {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 100_000,
  });
  const lines = child.stdout.split('\n').filter(line => line !== '');
  return { printed: lines.map(line => JSON.parse(line)), stderr: child.stderr, status: child.status };
}

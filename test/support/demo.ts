/** `mbox-pop3d demo` as a process, with a place of its own for the copy that it serves: however it ends, nothing is left. */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { scratchDir } from './mailbox.js';
import { launch, type Running, type RunOptions } from './program.js';

export const DEMO = ['demo', '--listen', '127.0.0.1:0'];

/** Where temporary directories go, for whomever it becomes; gone after the test. */
export function temporary(): string {
  const dir = join(scratchDir(), 'tmp');
  mkdirSync(dir);
  for (const path of [join(dir, '..'), dir]) chmodSync(path, 0o1777);
  return dir;
}

/** Starts it and waits until it is ready. @param flags added to the command line */
export async function startDemo(
  flags: readonly string[] = [],
  options: RunOptions & { readonly tmp?: string } = {},
): Promise<{ demo: Running; port: number }> {
  const { tmp = temporary(), ...rest } = options;
  const demo = launch([...DEMO, ...flags], { ...rest, env: { ...rest.env, TMPDIR: tmp } });
  return { demo, port: await demo.port() };
}

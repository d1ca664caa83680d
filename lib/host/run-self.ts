/** Runs this program again, as a child with the same standard descriptors. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** @returns the exit code, or 1 when a signal ended it */
export async function runSelf(args: readonly string[]): Promise<number> {
  const script = process.argv[1];
  if (script === undefined) throw new Error('there is no program to run again');
  const child = spawn(process.execPath, [...process.execArgv, script, ...args], { stdio: 'inherit' });
  const [code] = await once(child, 'exit');
  return typeof code === 'number' ? code : 1;
}

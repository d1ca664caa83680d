/** `mbox-pop3d user` as a process that gets the password on its standard input. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const PROGRAM = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;

/** One command; what it reads is the password. */
export async function user(args: readonly string[], password = '', env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [PROGRAM, 'user', ...args], {
    stdio: 'pipe',
    env: { PATH: process.env.PATH, ...env },
  });
  child.stdin.on('error', () => {});
  child.stdin.end(password, 'latin1');
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', text => {
      output[name] += text;
    });
  }
  const [code] = await once(child, 'close');
  return { code: code as number, ...output };
}

/** Other programs, in Python: an fcntl lock holder and a delivery agent that locks by fcntl only. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';

/** Runs a Python program until it has printed a line. Killed after the test. */
export async function python(program: string, ...args: string[]): Promise<ChildProcess> {
  const child = spawn('python3', ['-c', program, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  await once(child.stdout!, 'data');
  return child;
}

/** Holds an exclusive fcntl lock on the file until killed. Prints `locked`, or `busy` when it is refused. */
export const HOLD_FCNTL_LOCK = `
import fcntl, sys, time
f = open(sys.argv[1], 'r+b')
try:
    fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print('locked', flush=True)
    time.sleep(600)
except OSError:
    print('busy', flush=True)
`;

/** Waits for the fcntl lock, appends standard input, syncs. Prints \`waiting\` first and \`done\` last. */
export const APPEND_UNDER_FCNTL_LOCK = `
import fcntl, os, sys
f = open(sys.argv[1], 'ab')
print('waiting', flush=True)
fcntl.lockf(f, fcntl.LOCK_EX)
f.write(sys.stdin.buffer.read())
f.flush()
os.fsync(f.fileno())
print('done', flush=True)
`;

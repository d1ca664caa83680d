/** What needs strace(1), and to be allowed to attach it: CI has both, elsewhere it is skipped and said. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/** Linux's Yama lets ordinary users trace their own processes when this is 0 (ptrace(2)). */
const SCOPE = '/proc/sys/kernel/yama/ptrace_scope';

function whyNot(): string | undefined {
  if (spawnSync('strace', ['--version']).status !== 0) return 'strace is not installed';
  const mayAttach =
    process.geteuid!() === 0 || !existsSync(SCOPE) || readFileSync(SCOPE, 'latin1').trim() === '0';
  return mayAttach ? undefined : `strace may not attach: ${SCOPE}`;
}

const reason = whyNot();
if (reason !== undefined)
  process.stderr.write(`SKIPPED, unless CI=true: faults injected by strace: ${reason}\n`);

/** For `test.skipIf`. */
export const NO_TRACER = reason !== undefined && process.env.CI !== 'true';

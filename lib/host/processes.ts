/** Ending processes that are children of ours, with all they have started. Linux, by proc(5). */
import { readdirSync, readFileSync } from 'node:fs';
import { errnoOf } from '../errors.js';

/**
 * SIGKILL to a process and those it has started. One that may not be killed (it has become another user,
 * and we are not root) or is gone already is left alone.
 * @param pid a child that was not waited for yet, so that its number cannot be somebody else's
 */
export function killWithDescendants(pid: number): void {
  for (const one of [...descendants(pid), pid]) {
    try {
      process.kill(one, 'SIGKILL');
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH' && errnoOf(error) !== 'EPERM') throw error;
    }
  }
}

function descendants(pid: number): number[] {
  const children = threadsOf(pid).flatMap(thread =>
    read(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  );
  return children.flatMap(child => [...descendants(child), child]);
}

function threadsOf(pid: number): string[] {
  return orNothing(() => readdirSync(`/proc/${pid}/task`), []);
}

function read(path: string): string {
  return orNothing(() => readFileSync(path, 'latin1'), '');
}

/** Processes come and go; a kernel without these files knows no descendants. */
function orNothing<T>(look: () => T, nothing: T): T {
  try {
    return look();
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES'].includes(errnoOf(error) ?? '')) return nothing;
    throw error;
  }
}

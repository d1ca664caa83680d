/**
 * What both hosts do with Node's own calls: giving up root for good or for a while, and asking whether a
 * process exists.
 *
 * Node calls the C library's setgid and setuid, which change every thread of the process; raw system
 * calls would change one. Invariant: becomeUser returns only if the process is the user and nothing more.
 */
import { errnoOf } from '../errors.js';
import type { SystemUser } from './host.js';

/** The contract is `Host.becomeUser`; real and effective ids only. */
export function becomeUser(user: SystemUser, gid: number): void {
  const { setuid, setgid, getuid, geteuid, getgid, getegid, getgroups } = process;
  // @types/node leaves this one out.
  const { initgroups } = process as { initgroups?: (user: string, gid: number) => void };
  if (!setuid || !setgid || !initgroups || !getgroups) {
    throw new Error('this platform has no user ids');
  }
  if (!isId(user.uid) || !isId(gid)) throw new Error('will not become root or join its group');
  // Groups first: without root they could no longer be given up.
  initgroups(user.name, gid);
  setgid(gid);
  setuid(user.uid);
  expectIds('user', user.uid, [getuid?.(), geteuid?.()]);
  expectIds('group', gid, [getgid?.(), getegid?.()]);
  if (getgroups().includes(0)) throw new Error(`user ${user.name} is in root's group`);
  proveRootIsGone();
}

/** The contract is `Host.setEffectiveUser`. */
export function setEffectiveUser(uid: number, gid: number): void {
  if (!isId(uid) || !isId(gid)) throw new Error('will not become root or join its group');
  // The user last: without root the groups could not be changed.
  process.setgroups?.([]);
  process.setegid?.(gid);
  process.seteuid?.(uid);
  expectIds('effective user', uid, [process.geteuid?.()]);
  expectIds('effective group', gid, [process.getegid?.()]);
}

/** The contract is `Host.regainRoot`. */
export function regainRoot(): void {
  const gid = process.getgid?.() ?? -1;
  // The user first: it is root that may change the group.
  process.seteuid?.(0);
  process.setegid?.(gid);
  expectIds('effective user', 0, [process.geteuid?.()]);
  expectIds('effective group', gid, [process.getegid?.()]);
}

/** Throws if there is a way back to root: a saved id of 0, or a capability that was kept. */
export function proveRootIsGone(): void {
  const { setuid, setgid, seteuid, setegid, setgroups } = process;
  const attempts = [
    () => setuid?.(0),
    () => seteuid?.(0),
    () => setgid?.(0),
    () => setegid?.(0),
    () => setgroups?.([0]),
  ];
  if (attempts.some(succeeds)) throw new Error('root could be regained');
}

/** Throws unless every one of `found` is `wanted`. */
export function expectIds(what: string, wanted: number, found: readonly (number | undefined)[]): void {
  if (found.some(id => id !== wanted)) {
    throw new Error(`${what} ids are ${found.join(', ')} after the change, not ${wanted}`);
  }
}

/** The contract is `Host.processExists`. */
export function processExists(pid: number): boolean {
  // 0 and negative numbers would ask about process groups.
  if (!Number.isSafeInteger(pid) || pid < 1 || pid > 0x7fffffff)
    throw new RangeError(`no process id: ${pid}`);
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) !== 'ESRCH';
  }
}

/** A uid or gid that is not root's; the highest value means "leave as it is" to setresuid(2). */
export function isId(id: number): boolean {
  return Number.isInteger(id) && id > 0 && id < 0xffffffff;
}

function succeeds(attempt: () => void): boolean {
  try {
    attempt();
    return true;
  } catch (error) {
    if (errnoOf(error) !== 'EPERM') throw error;
    return false;
  }
}

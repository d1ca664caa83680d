/**
 * Becoming one mail user for good, and borrowing the spool's group for the time of one call.
 *
 * The C library's setresuid and its kin change every thread of the process; setfsgid changes the calling
 * thread only, which is what makes it fit for borrowing. Invariant: becomeMailUser returns only if every
 * thread is the user and nothing more, and withGroup only if this thread has its group back.
 */
import { readdirSync, readFileSync } from 'node:fs';
import koffi from 'koffi';
import { errnoOf } from '../errors.js';
import type { SystemUser } from './host.js';
import { isId, proveRootIsGone } from './ids.js';
import { libc, systemError } from './libc.js';

const THREADS = '/proc/self/task';
const PR_GET_DUMPABLE = 3;
const PR_SET_DUMPABLE = 4;

type SetIds = (real: number, effective: number, saved: number) => number;
const setresuid = libc.func('setresuid', 'int', ['uint32_t', 'uint32_t', 'uint32_t']) as SetIds;
const setresgid = libc.func('setresgid', 'int', ['uint32_t', 'uint32_t', 'uint32_t']) as SetIds;
const setfsgid = libc.func('setfsgid', 'uint32_t', ['uint32_t']) as (gid: number) => number;
const prctl = libc.func('prctl', 'int', ['int', '...']);

/** The contract is `Host.becomeMailUser`. */
export function becomeMailUser({ uid, gid }: SystemUser, mailGid: number | undefined): void {
  const savedGid = mailGid ?? gid;
  if (![uid, gid, savedGid].every(isId)) throw new Error('will not become root or join its group');
  // Groups first: without root they could no longer be given up.
  process.setgroups?.([]);
  check(setresgid(gid, gid, savedGid), 'setresgid');
  check(setresuid(uid, uid, uid), 'setresuid');
  proveRootIsGone();
  makeUndumpable();
  // Last of all, so that it is the final state that was read.
  const wanted = [
    `Uid: ${uid} ${uid} ${uid} ${uid}`,
    `Gid: ${gid} ${gid} ${savedGid} ${gid}`,
    'Groups:',
    ...['CapPrm', 'CapEff', 'CapAmb'].map(set => `${set}: 0`),
  ].join(', ');
  const threads = threadIds();
  if (threads.length === 0) throw new Error(`no threads in ${THREADS}`);
  for (const found of threads) {
    if (found !== wanted) throw new Error(`a thread has the ids "${found}", not "${wanted}"`);
  }
}

/** The contract is `Host.withGroup`. */
export function withGroup<T>(gid: number, run: () => T): T {
  if (!isId(gid)) throw new Error("will not use root's group");
  const before = setfsgid(gid);
  try {
    if (fileGroup() !== gid) throw new Error(`no permission to use group ${gid}`);
    const result = run();
    if (result instanceof Promise) throw new Error('work in another group must be synchronous');
    return result;
  } finally {
    setfsgid(before);
    expectFileGroup(before);
  }
}

/** setfsgid(2) reports no errors: it returns the former id, and for an impossible new one changes nothing. */
function fileGroup(): number {
  return setfsgid(0xffffffff);
}

function expectFileGroup(gid: number): void {
  const found = fileGroup();
  if (found !== gid) throw new Error(`the file system group is ${found} after borrowing, not ${gid}`);
}

/** C45: a process that became the user holds descriptors the user could not open; the user may not trace it. */
export function makeUndumpable(): void {
  check(prctl(PR_SET_DUMPABLE, 'unsigned long', 0), 'prctl');
  if (prctl(PR_GET_DUMPABLE) !== 0) throw new Error('the process is still dumpable');
}

/** Ids, groups and capabilities of every thread of this process, each as one line, as the kernel has them. */
function threadIds(): string[] {
  return readdirSync(THREADS).flatMap(thread => {
    const status = readStatus(thread);
    if (status === undefined) return [];
    const lines = status.match(/^(?:Uid|Gid|Groups|CapPrm|CapEff|CapAmb):.*$/gm) ?? [];
    return lines.map(line => line.replace(/\s+/g, ' ').trim().replace(/\b0+$/, '0')).join(', ');
  });
}

/** Undefined for a thread that has ended meanwhile. */
function readStatus(thread: string): string | undefined {
  try {
    return readFileSync(`${THREADS}/${thread}/status`, 'latin1');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined;
    throw error;
  }
}

function check(result: number, syscall: string): void {
  if (result === -1) throw systemError(syscall, koffi.errno());
}

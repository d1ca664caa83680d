/**
 * Looks at the locks of a mailbox: who holds the dotlock and the locks of the kernel, which session there is, and what
 * killed processes have left. For a human: each trouble comes with its remedy.
 */
import { constants } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errnoOf } from '../errors.js';
import { isOctetLocked, kernelLocksOn, processName } from '../host/lock-table.js';
import { STALE_AFTER } from './dotlock.js';
import { type Examined, type Finding, ifMissing, list } from './finding.js';
import type { FileStat, SpoolIo } from './io.js';
import { makerOf } from './lock-file.js';
import { sessionLockPlaces } from './session-lock.js';
import { RECOVERING, readRecord } from './session-record.js';
import { inspectDotlock, type LockSighting } from './stale-dotlock.js';

/** @param path of the mailbox file */
export async function examineLocks(subject: Examined, path: string): Promise<Finding[]> {
  return [
    ...(await examineDotlock(subject, path)),
    ...(await examineLeftovers(subject, path)),
    ...(await examineKernelLocks(subject, path)),
    ...(await examineSession(subject, path)),
  ];
}

async function examineDotlock(subject: Examined, mailbox: string): Promise<Finding[]> {
  const { host, user } = subject;
  const path = `${mailbox}.lock`;
  let lock: LockSighting;
  try {
    lock = await inspectDotlock(path, mailbox, host);
  } catch (error) {
    // Without a mailbox there is nothing to compare ages with, and nothing that a lock could keep busy.
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  if (lock.kind === 'other') {
    return [
      {
        what: `${path} is no regular file: no mail program makes such a lock, and all of them wait for it`,
        remedy: `look at it (ls -ld ${path}), and remove it`,
      },
    ];
  }
  const what = `${path}: ${describeHolder(lock)}, ${age(lock.lastChange)}`;
  if (lock.updates.length > 0) {
    if ((await examineSession(subject, mailbox)).length > 0) return [{ what }];
    return [
      {
        what: `${what}; no session is at it: it was cut off`,
        remedy: `the next login finishes it, at once. Or: mbox-pop3d recover ${user}. Do not remove the lock before: it keeps other programs from a mailbox that is half rewritten`,
      },
    ];
  }
  if (lock.stale === 'at once') {
    return [{ what, remedy: `none needed: the next login or delivery breaks it. Or: rm ${path}` }];
  }
  const unchanged = Date.now() - lock.lastChange.getTime();
  if (lock.pid !== undefined && host.processExists(lock.pid)) {
    if (unchanged < STALE_AFTER) return [{ what }];
    return [{ what, remedy: `see what process ${lock.pid} waits for: ps -fp ${lock.pid}` }];
  }
  if (unchanged < STALE_AFTER) {
    const left = Math.ceil((STALE_AFTER - unchanged) / 1000);
    return [{ what: `${what}; taken for stale in ${left} s if it and the mailbox do not change` }];
  }
  return [{ what, remedy: `none needed: the next login breaks it. Or, if nobody delivers: rm ${path}` }];
}

function describeHolder({ pid, content, uid, stale, updates }: LockSighting): string {
  const by = `made by uid ${uid}`;
  if (updates.length > 0) return `the lock of an UPDATE that is rewriting the mailbox, ${by}`;
  if (content === '') return `a lock that says nothing, or may not be read, ${by}`;
  if (pid === undefined)
    return `a lock of ${JSON.stringify(content.slice(0, 80))}, no process of this host, ${by}`;
  if (stale === 'at once') return `a lock of process ${pid}, which does not exist any more, ${by}`;
  const name = processName(pid);
  return `a lock of process ${pid}${name === undefined ? '' : ` (${name})`}, ${by}`;
}

function age(since: Date): string {
  return `last change ${Math.max(0, Math.round((Date.now() - since.getTime()) / 1000))} s ago`;
}

/** Lock files that were made and never got their name, because their maker was killed. */
async function examineLeftovers({ host }: Examined, mailbox: string): Promise<Finding[]> {
  const prefix = `.${basename(mailbox)}.lock.`;
  const names = (await list(dirname(mailbox))).filter(name => name.startsWith(prefix));
  // That of a server that runs is about to be a lock again.
  const left = names.filter(name => {
    const pid = makerOf(name, mailbox);
    return pid === undefined || !host.processExists(pid);
  });
  return left.map(name => {
    const path = join(dirname(mailbox), name);
    return {
      what: `${path}: left by a process that was killed while it made a lock`,
      remedy: `harmless; rm ${path}`,
    };
  });
}

async function look(io: SpoolIo, path: string): Promise<FileStat | undefined> {
  try {
    return await io.lstat(path);
  } catch (error) {
    return ifMissing(error);
  }
}

async function examineKernelLocks({ io }: Examined, path: string): Promise<Finding[]> {
  const stat = await look(io, path);
  if (stat === undefined) return [];
  return (kernelLocksOn(stat) ?? []).map(({ kind, mode, pids }) => {
    const holders = pids.map(pid => `${pid} (${processName(pid) ?? 'gone'})`).join(', ');
    return {
      what: `${kind} lock for ${mode === 'read' ? 'reading' : 'writing'} of process ${holders || 'unknown'}`,
    };
  });
}

async function examineSession({ io, runtimeDir }: Examined, mailbox: string): Promise<Finding[]> {
  const resolved = await realpath(dirname(mailbox)).catch(ifMissing);
  if (resolved === undefined) return [];
  const { record: path, shared } = sessionLockPlaces(runtimeDir, join(resolved, basename(mailbox)));
  const stat = await look(io, path);
  if (stat?.kind !== 'file') return [];
  const file = await look(io, shared.path);
  const held =
    (kernelLocksOn(stat) ?? []).length > 0 || (file !== undefined && isOctetLocked(file, shared.octet));
  if (!held) return [];
  const fd = await io.open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const record = readRecord(fd);
    if (record?.address === RECOVERING)
      return [{ what: `an interrupted update is being finished, by process ${record.pid}` }];
    const who = record && ` since ${record.since} from ${record.address}, process ${record.pid}`;
    return [{ what: `a POP3 session${who ?? ''}` }];
  } finally {
    await io.close(fd);
  }
}

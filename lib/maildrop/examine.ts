/**
 * Looks at one mailbox and at everything that may stand in its way: the file itself, its locks and who
 * holds them, the session, the journal. For a human: each trouble comes with its remedy.
 *
 * Invariant: nothing is changed, no lock is taken and nothing waited for, so that it may be run at any
 * moment on a host in use. What it tells of a mailbox that is being written may be out of date at once.
 */
import { constants } from 'node:fs';
import { readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errnoOf, Unavailable } from '../errors.js';
import type { Host } from '../host/host.js';
import { isOctetLocked, kernelLocksOn, processName } from '../host/lock-table.js';
import { BoundaryAudit } from '../mbox/boundary-audit.js';
import { NotMbox } from '../mbox/scanner.js';
import { STALE_AFTER } from './dotlock.js';
import type { SpoolIo } from './io.js';
import { Journal } from './journal.js';
import { makerOf } from './lock-file.js';
import { changeBetween, MailboxFile } from './mailbox-file.js';
import { PlanJournal } from './plan-journal.js';
import { sessionLockPlaces } from './session-lock.js';
import { readRecord } from './session-record.js';
import { inspectDotlock, type LockSighting } from './stale-dotlock.js';

/** `remedy` makes it a trouble; without, it is for information. */
export interface Finding {
  readonly what: string;
  readonly remedy?: string;
}

export interface Examined {
  readonly io: SpoolIo;
  readonly host: Host;
  readonly spool: string;
  readonly runtimeDir: string;
  /** `STATE/USER`. */
  readonly stateDir: string;
  readonly user: string;
  /** Who must own the mailbox file. */
  readonly owner: number;
}

/** Looks at all of it. Rejects for what no mailbox explains, such as an error of the disk. */
export async function examine(subject: Examined): Promise<Finding[]> {
  const path = join(subject.spool, subject.user);
  return [
    ...(await examineFile(subject, path)),
    ...(await examineDotlock(subject, path)),
    ...(await examineLeftovers(subject, path)),
    ...(await examineKernelLocks(subject, path)),
    ...(await examineSession(subject, path)),
    ...(await examineJournals(subject)),
  ];
}

async function examineFile({ io, owner }: Examined, path: string): Promise<Finding[]> {
  let file: MailboxFile | undefined;
  try {
    file = await MailboxFile.open(io, path, { owner, writable: false });
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    const why = error.cause instanceof Error ? error.cause.message : error.message;
    return [{ what: `${path} is refused: ${why}`, remedy: remedyFor(why, path, owner) }];
  }
  if (file === undefined) return [{ what: 'no mailbox file: an empty maildrop' }];
  try {
    return [...(await examineMode(file)), ...(await examineContent(file))];
  } finally {
    await file.close();
  }
}

function remedyFor(why: string, path: string, owner: number): string {
  if (/owned by uid/.test(why)) {
    return owner < 0
      ? 'no user of this name may have a mailbox here: uid 0, or unknown'
      : `chown ${owner} ${path}`;
  }
  if (/links$/.test(why)) return `find its other names (find -samefile ${path}) and remove them`;
  if (/EACCES|EPERM/.test(why)) return 'run the check as root, or as the owner of the mailbox';
  return `look at it (ls -ld ${path}) and move it away: only a regular file is a mailbox`;
}

async function examineMode(file: MailboxFile): Promise<Finding[]> {
  const { mode } = await file.stat();
  if ((mode & 0o007) === 0) return [];
  const octal = (mode & 0o7777).toString(8).padStart(4, '0');
  return [{ what: `mode ${octal}: everybody on this host may open it`, remedy: `chmod o-rwx ${file.path}` }];
}

/** Indexes the file, without a lock: again if it is changed meanwhile, but not for ever. */
async function examineContent(file: MailboxFile): Promise<Finding[]> {
  for (let attempt = 1; ; attempt++) {
    const before = await file.stat();
    const audit = new BoundaryAudit();
    try {
      const index = await file.scan({ alsoTo: audit });
      if (changeBetween(before, await file.stat()) !== 'same' && attempt < 3) continue;
      const size = { what: `${index.messages} messages, ${before.size} octets in the file` };
      return [size, ...fromAudit(audit, before.size, file.path)];
    } catch (error) {
      if (!(error instanceof NotMbox)) throw error;
      if (changeBetween(before, await file.stat()) !== 'same' && attempt < 3) continue;
      return [
        {
          what: `not in mbox format: at offset ${error.offset} there should be a From_ line`,
          remedy: `every login is refused until it is put right: look with head -c ${error.offset + 300} ${file.path}`,
        },
      ];
    }
  }
}

function fromAudit(audit: BoundaryAudit, size: number, path: string): Finding[] {
  const { disputed, firstDisputed, endsWithLine } = audit.end();
  const findings: Finding[] = [];
  if (disputed > 0) {
    findings.push({
      what: `${disputed} From_ lines that follow no empty line, the first at offset ${firstDisputed}: mutt, Dovecot and alpine begin a message there, we do not`,
      remedy:
        'if they are text, put ">" before them; if they are messages, an empty line; with the mailbox locked',
    });
  }
  if (size > 0 && !endsWithLine) {
    findings.push({
      what: 'its last line has no end: to some agents, the next message would be a part of this one',
      remedy: `with the mailbox locked: printf '\\n\\n' >> ${path}`,
    });
  }
  return findings;
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

async function examineKernelLocks({ io }: Examined, path: string): Promise<Finding[]> {
  const stat = await io.lstat(path).catch(ifMissing);
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
  const stat = await io.lstat(path).catch(ifMissing);
  if (stat?.kind !== 'file') return [];
  const file = await io.lstat(shared.path).catch(ifMissing);
  const held =
    (kernelLocksOn(stat) ?? []).length > 0 || (file !== undefined && isOctetLocked(file, shared.octet));
  if (!held) return [];
  const fd = await io.open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const record = readRecord(fd);
    const who = record && ` since ${record.since} from ${record.address}, process ${record.pid}`;
    return [{ what: `a POP3 session${who ?? ''}` }];
  } finally {
    await io.close(fd);
  }
}

async function examineJournals({ io, stateDir, user, owner }: Examined): Promise<Finding[]> {
  const findings: Finding[] = [];
  const place = { io, dir: stateDir, owner, dirIsGiven: true };
  for (const journal of [new Journal(place), new PlanJournal(place)]) {
    try {
      const state = await journal.read();
      if (state.is === 'committed') {
        findings.push({
          what: `${journal.path}: an UPDATE that was not finished (or is going on)`,
          remedy: `if no session is: the next login finishes it. Or: mbox-pop3d recover ${user}`,
        });
      } else if ('reason' in state) {
        findings.push({
          what: `${journal.path} is not a journal to act on: ${state.reason}`,
          remedy: `mbox-pop3d recover ${user} says what becomes of it`,
        });
      }
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      findings.push({
        what: `${journal.path}: ${errnoOf(error)}`,
        remedy: 'run the check as root, or as the owner of the state directory',
      });
    } finally {
      await journal.close();
    }
  }
  const aside = (await list(stateDir)).filter(name => /^journal\.(?!new$|plan$)/.test(name));
  for (const name of aside) {
    findings.push({
      what: `${join(stateDir, name)}: kept for you when an update could not be finished`,
      remedy:
        'read the log of that time (journal-set-aside, journal-ignored); remove it when nothing is missing',
    });
  }
  return findings;
}

async function list(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).sort();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

function ifMissing(error: unknown): undefined {
  if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoOf(error) ?? '')) return undefined;
  throw error;
}

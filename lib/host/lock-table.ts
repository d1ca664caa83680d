/**
 * Who holds a kernel lock on a file, as far as the kernel tells: /proc/locks (proc(5), proc_locks(5)), and
 * for open file description locks, which name no process there, /proc/PID/fdinfo. Looking takes no lock, so it disturbs
 * nobody. Elsewhere than on Linux there is no such table, and nothing is known.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { errnoOf } from '../errors.js';

export interface KernelLock {
  readonly kind: 'fcntl' | 'flock';
  readonly mode: 'read' | 'write';
  /** Processes that hold it; empty when that is not ours to see. */
  readonly pids: readonly number[];
}

/** The file a lock is on: device and inode of stat(2). */
export interface LockedFile {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** `1: OFDLCK ADVISORY  WRITE -1 fd:01:1234 0 EOF`; the number and a `->` of a waiter come before. */
const LINE =
  /^\s*(?:lock:\s*)?\d+:\s+(POSIX|OFDLCK|FLOCK)\s+\S+\s+(READ|WRITE)\s+(-?\d+)\s+(\S+)\s+(\d+)\s+(\d+|EOF)/;

/**
 * The locks that are held on a file. Those who only wait for one are left out.
 * @returns undefined where the kernel does not tell
 */
export function kernelLocksOn(file: LockedFile): KernelLock[] | undefined {
  const table = readIfThere('/proc/locks');
  if (table === undefined) return undefined;
  const name = nameOf(file);
  const found: KernelLock[] = [];
  for (const line of table.split('\n')) {
    const match = LINE.exec(line);
    if (match === null || match[4] !== name) continue;
    const pid = Number(match[3]);
    const lock: KernelLock = {
      kind: match[1] === 'FLOCK' ? 'flock' : 'fcntl',
      mode: match[2] === 'WRITE' ? 'write' : 'read',
      pids: pid > 0 ? [pid] : holdersOf(name),
    };
    // A process may lock several ranges; and the kernel tells some twice when locks come and go while it is read.
    if (!found.some(other => isDeepStrictEqual(other, lock))) found.push(lock);
  }
  return found;
}

/** Whether an open file description lock covers an octet of a file; undefined where the kernel does not tell. */
export function isOctetLocked(file: LockedFile, octet: bigint): boolean | undefined {
  const table = readIfThere('/proc/locks');
  if (table === undefined) return undefined;
  const name = nameOf(file);
  return table.split('\n').some(line => {
    const match = LINE.exec(line);
    if (match?.[1] !== 'OFDLCK' || match[4] !== name) return false;
    const [first, last] = [BigInt(match[5]!), match[6]!];
    return first <= octet && (last === 'EOF' || octet <= BigInt(last));
  });
}

/** The name of a process, for a human. Undefined when it is gone, or hidden. */
export function processName(pid: number): string | undefined {
  return readIfThere(`/proc/${pid}/comm`)?.trim();
}

/** As /proc/locks names a file: `MAJOR:MINOR:INODE`, the device in hexadecimal (makedev(3)). */
function nameOf({ dev, ino }: LockedFile): string {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  const hex = (n: bigint) => n.toString(16).padStart(2, '0');
  return `${hex(major)}:${hex(minor)}:${ino}`;
}

/** Processes one of whose descriptors has an open file description lock on the file. */
function holdersOf(name: string): number[] {
  const pids = readdirSync('/proc').filter(entry => /^\d+$/.test(entry));
  return pids.filter(pid => locksOf(pid).includes(name)).map(Number);
}

function locksOf(pid: string): string[] {
  const dir = `/proc/${pid}/fdinfo`;
  const texts = entriesOf(dir).map(fd => readIfThere(`${dir}/${fd}`) ?? '');
  return texts
    .flatMap(text => text.split('\n'))
    .flatMap(line => {
      const match = line.startsWith('lock:') ? LINE.exec(line) : null;
      return match?.[1] === 'OFDLCK' ? [match[4]!] : [];
    });
}

function entriesOf(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (error) {
    if (hidden(error)) return [];
    throw error;
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if (hidden(error)) return undefined;
    throw error;
  }
}

/** Processes end while we look, and others' are not ours to look into. */
function hidden(error: unknown): boolean {
  return ['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'ENOTDIR'].includes(errnoOf(error) ?? '');
}

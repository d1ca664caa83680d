/**
 * What can be done without the FFI, for `demo` and for the library in other people's tests: locks that
 * exclude only within this process, no crypt(3), users and groups from the files alone.
 *
 * Invariant: a lock here never says "yes" to two open descriptors of this process that the real one
 * would keep apart. It may say "no" once too often: a descriptor that was closed without unlocking, and
 * whose number now stands for another open of the same file, still counts. Other programs are not seen,
 * and do not see us: the server proper does not run so.
 */
import { fstatSync, readFileSync } from 'node:fs';
import { errnoOf } from '../errors.js';
import type { Host, SocketKind } from './host.js';
import { becomeUser, processExists, regainRoot, setEffectiveUser } from './ids.js';

type Kind = 'read' | 'write';

/** Locks of one method (fcntl or flock): file, or octet of one → the descriptors that hold one. */
class LockTable {
  readonly #holders = new Map<string, Map<number, Kind>>();

  lock(fd: number, kind: Kind, octet?: bigint): boolean {
    const file = fileOf(fd);
    if (file === undefined) throw Object.assign(new Error('EBADF: bad file descriptor'), { code: 'EBADF' });
    const place = placeIn(file, octet);
    const holders = this.#holders.get(place) ?? new Map<number, Kind>();
    for (const [other, held] of holders) {
      // Closing the descriptor ends the lock. We are not told, so we look whether it is still the same file.
      if (fileOf(other) !== file) holders.delete(other);
      else if (other !== fd && (kind === 'write' || held === 'write')) return false;
    }
    holders.set(fd, kind);
    this.#holders.set(place, holders);
    return true;
  }

  unlock(fd: number, octet?: bigint): void {
    const file = fileOf(fd);
    if (file === undefined) return;
    const place = placeIn(file, octet);
    const holders = this.#holders.get(place);
    if (holders === undefined) return;
    holders.delete(fd);
    if (holders.size === 0) this.#holders.delete(place);
  }
}

function placeIn(file: string, octet: bigint | undefined): string {
  return octet === undefined ? file : `${file} ${octet}`;
}

function fileOf(fd: number): string | undefined {
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    if (errnoOf(error) === 'EBADF') return undefined;
    throw error;
  }
}

/** The fields of the first line of a passwd(5) or group(5) file whose first field is `name`. */
function lineOf(file: string, name: string): string[] | undefined {
  for (const line of readFileSync(file, 'latin1').split('\n')) {
    const fields = line.split(':');
    // A line that begins with + or - is an instruction to NIS, not an entry.
    if (fields.length >= 4 && fields[0] === name && !/^[+-]/.test(name)) return fields;
  }
  return undefined;
}

function idIn(field: string | undefined): number | undefined {
  return field !== undefined && /^[0-9]{1,10}$/.test(field) ? Number(field) : undefined;
}

/** Makes a portable host with lock tables of its own. */
export function createPortableHost(): Host {
  const openFileLocks = new LockTable();
  const octetLocks = new LockTable();
  const flocks = new LockTable();
  return {
    kind: 'portable',
    async warmUp() {},
    lockOpenFile: (fd, kind) => openFileLocks.lock(fd, kind),
    unlockOpenFile: fd => openFileLocks.unlock(fd),
    lockOctet: (fd, at) => octetLocks.lock(fd, 'write', at),
    unlockOctet: (fd, at) => octetLocks.unlock(fd, at),
    flock: (fd, kind) => flocks.lock(fd, kind),
    unflock: fd => flocks.unlock(fd),
    openCached: () => undefined,
    readCached: () => undefined,
    statOpen: () => undefined,
    statNamed: () => undefined,
    crypt: async () => undefined,
    processExists,
    findUser(name) {
      const fields = lineOf('/etc/passwd', name);
      const uid = idIn(fields?.[2]);
      const gid = idIn(fields?.[3]);
      return uid === undefined || gid === undefined ? undefined : { name, uid, gid };
    },
    findGroup: name => idIn(lineOf('/etc/group', name)?.[2]),
    becomeUser,
    setEffectiveUser,
    regainRoot,
    becomeMailUser: () => needsNative('becoming a mail user'),
    withGroup,
    socketKind,
    acknowledged: () => undefined,
    limitReceived: () => {},
    becomeUndumpable: () => {},
    duplicateDescriptor: () => needsNative('duplicating a descriptor'),
    openSyslog: () => needsNative('syslog'),
    syslog: () => needsNative('syslog'),
    notify: () => needsNative('notifying the service manager'),
  };
}

function withGroup<T>(gid: number, run: () => T): T {
  return process.getegid?.() === gid ? run() : needsNative('another group');
}

/** Whether it is a socket at all can be told. */
function socketKind(fd: number): SocketKind {
  try {
    return fstatSync(fd).isSocket() ? needsNative('an inherited socket') : 'none';
  } catch (error) {
    if (errnoOf(error) === 'EBADF') return 'none';
    throw error;
  }
}

function needsNative(what: string): never {
  throw new Error(`${what} needs the native host`);
}

/**
 * The native host: locks, crypt(3), users and groups from the C library itself, through koffi. What it
 * promises is written at `Host`; which platforms have it, in libc.ts.
 *
 * Open file description locks, because a POSIX lock vanishes when any descriptor of the file is closed
 * in the process, and does not exclude our own other sessions. Other programs' POSIX locks do exclude
 * them, and they those.
 */
import koffi from 'koffi';
import type { Host, SystemUser } from './host.js';
import { becomeUser, expectIds, processExists, regainRoot, setEffectiveUser } from './ids.js';
import {
  type Group,
  getgrnam,
  getpwnam,
  getresgid,
  getresuid,
  libc,
  type Passwd,
  platform,
  setFlock,
  setOpenFileLock,
  systemError,
} from './libc.js';
import { openCached } from './linux-cached-open.js';
import { readCached } from './linux-cached-read.js';
import { crypt, loadCrypt } from './linux-crypt.js';
import { acknowledged, duplicateDescriptor, limitReceived, socketKind } from './linux-descriptors.js';
import { becomeMailUser, makeUndumpable, withGroup } from './linux-ids.js';
import { notify } from './linux-notify.js';
import { statNamed, statOpen } from './linux-stat.js';
import { openSyslog, syslog } from './linux-syslog.js';

const { ERANGE, ENOENT, ESRCH } = koffi.os.errno;
const getpid = libc.func('getpid', 'int', []);
const MAX_ENTRY = 16 * 1024 * 1024;

export const linuxHost: Host = {
  kind: 'native',
  lockOpenFile: (fd, kind) => setOpenFileLock(fd, kind === 'write' ? platform.F_WRLCK : platform.F_RDLCK),
  unlockOpenFile(fd) {
    setOpenFileLock(fd, platform.F_UNLCK);
  },
  lockOctet: (fd, at) => setOpenFileLock(fd, platform.F_WRLCK, at, 1),
  unlockOctet(fd, at) {
    setOpenFileLock(fd, platform.F_UNLCK, at, 1);
  },
  flock: (fd, kind) =>
    setFlock(fd, (kind === 'write' ? platform.LOCK_EX : platform.LOCK_SH) | platform.LOCK_NB),
  unflock(fd) {
    setFlock(fd, platform.LOCK_UN);
  },
  openCached,
  readCached,
  statOpen,
  statNamed,
  crypt,
  processExists,
  findUser,
  findGroup: name => entry<Group>(getgrnam, 'getgrnam_r', name)?.gr_gid,
  becomeUser(user, gid) {
    becomeUser(user, gid);
    expectIds('user', user.uid, readIds(getresuid, 'getresuid'));
    expectIds('group', gid, readIds(getresgid, 'getresgid'));
  },
  async warmUp() {
    loadCrypt();
    await startThreadPool();
  },
  becomeMailUser,
  setEffectiveUser,
  regainRoot,
  becomeUndumpable: makeUndumpable,
  withGroup,
  socketKind,
  acknowledged,
  limitReceived,
  duplicateDescriptor,
  openSyslog,
  syslog,
  notify,
};

/** The first work given to libuv's pool starts all its threads. Nothing about files: it may be root's. */
function startThreadPool(): Promise<void> {
  return new Promise((resolve, reject) => {
    getpid.async((error: unknown) => (error ? reject(error) : resolve()));
  });
}

function findUser(name: string): SystemUser | undefined {
  const found = entry<Passwd>(getpwnam, 'getpwnam_r', name);
  return found && { name: found.pw_name, uid: found.pw_uid, gid: found.pw_gid };
}

/** One entry of passwd(5) or group(5) with its NSS sources, or undefined. Throws when a source failed. */
function entry<T>(call: typeof getpwnam | typeof getgrnam, syscall: string, name: string): T | undefined {
  if (name === '' || name.includes('\0')) return undefined;
  for (let size = 4096; size <= MAX_ENTRY; size *= 4) {
    const record = {};
    const found: unknown[] = [null];
    const errno = call(name, record, Buffer.alloc(size), size, found);
    if (errno === ERANGE) continue;
    if (errno === 0 && found[0] !== null) return record as T;
    // getpwnam_r(3): these too may mean "not found". Anything else is a source that is down.
    if (errno === 0 || errno === ENOENT || errno === ESRCH) return undefined;
    throw systemError(syscall, errno);
  }
  throw systemError(syscall, ERANGE ?? 0);
}

function readIds(call: typeof getresuid, syscall: string): number[] {
  const ids: [number[], number[], number[]] = [[0], [0], [0]];
  if (call(...ids) !== 0) throw systemError(syscall, koffi.errno());
  return ids.flat();
}

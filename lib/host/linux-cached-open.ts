/**
 * open(2) where all that it takes is in memory: openat2(2) with RESOLVE_CACHED, of Linux 5.12. As a read of what is
 * in memory (`linux-cached-read.ts`) it takes a microsecond or two, and never waits for a disk or a server of files.
 */
import koffi from 'koffi';
import { libc, systemError } from './libc.js';

/** The number is the same on every platform of libc.ts; the C library has no name for it. */
const SYS_OPENAT2 = 437;
const AT_FDCWD = -100;
const RESOLVE_CACHED = 0x20;
const O_CLOEXEC = 0o2000000;

const openat2 = libc.func('syscall', 'long', ['long', 'int', 'str', 'void *', 'size_t']) as (
  number: number,
  directory: number,
  path: string,
  how: Buffer,
  size: number,
) => number;

/** `struct open_how`: flags, mode, resolve. Used again and again: nothing is kept of it by the system. */
const how = Buffer.alloc(24);
how.writeBigUInt64LE(BigInt(RESOLVE_CACHED), 16);

const { ENOENT } = koffi.os.errno;

/** The contract is `Host.openCached`. */
export function openCached(path: string, flags: number): number | undefined {
  // What follows a NUL would not be seen.
  if (path.includes('\0')) return undefined;
  how.writeBigUInt64LE(BigInt(flags | O_CLOEXEC), 0);
  const fd = openat2(SYS_OPENAT2, AT_FDCWD, path, how, how.length);
  if (fd >= 0) return fd;
  const errno = koffi.errno();
  if (errno === ENOENT) throw systemError('open', errno);
  // EAGAIN, ENOSYS, or an error that an ordinary open will tell.
  return undefined;
}

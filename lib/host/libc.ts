/**
 * The C library as koffi sees it: the functions the native room calls, typed, and errno turned into
 * the same kind of error that node:fs throws. Importing this file loads koffi; only linux*.ts may.
 *
 * Invariant: a platform whose constants and structures were not checked has no row in PLATFORMS, and
 * loading fails there. A wrong lock command number would not fail: it could wait for ever (F_OFD_SETLKW).
 */
import { getSystemErrorName } from 'node:util';
import koffi, { type TypeObject } from 'koffi';

/** What differs between platforms: command numbers and values of fcntl(2) and flock(2). */
interface Platform {
  readonly F_OFD_SETLK: number;
  readonly F_RDLCK: number;
  readonly F_WRLCK: number;
  readonly F_UNLCK: number;
  readonly LOCK_SH: number;
  readonly LOCK_EX: number;
  readonly LOCK_NB: number;
  readonly LOCK_UN: number;
  /** `struct flock`, in order; the C library must take this form with F_OFD_SETLK. */
  readonly flock: Readonly<Record<string, string>>;
}

const FLOCK_64 = {
  l_type: 'int16_t',
  l_whence: 'int16_t',
  l_start: 'int64_t',
  l_len: 'int64_t',
  l_pid: 'int32_t',
} as const;

// asm-generic/fcntl.h: one table for every 64-bit Linux but the old Alpha, MIPS and SPARC; glibc and musl
// alike. 32-bit ones need another struct flock.
const LINUX_64: Platform = {
  F_OFD_SETLK: 37,
  F_RDLCK: 0,
  F_WRLCK: 1,
  F_UNLCK: 2,
  LOCK_SH: 1,
  LOCK_EX: 2,
  LOCK_NB: 4,
  LOCK_UN: 8,
  flock: FLOCK_64,
};

const PLATFORMS: ReadonlyMap<string, Platform> = new Map([
  ['linux-x64', LINUX_64],
  ['linux-arm64', LINUX_64],
  ['linux-riscv64', LINUX_64],
  ['linux-loong64', LINUX_64],
]);

function findPlatform(): Platform {
  const key = `${process.platform}-${process.arch}`;
  const platform = PLATFORMS.get(key);
  if (platform === undefined) throw new Error(`no table of lock constants for ${key}`);
  return platform;
}

export const platform = findPlatform();

/** The running program and with it the C library, whatever the file is called on this system. */
export const libc = koffi.load(null);

const flockPointer = koffi.pointer(koffi.struct({ ...platform.flock }));
const passwd = koffi.struct({
  pw_name: 'str',
  pw_passwd: 'void *',
  pw_uid: 'uint32_t',
  pw_gid: 'uint32_t',
  pw_gecos: 'void *',
  pw_dir: 'void *',
  pw_shell: 'void *',
});
const group = koffi.struct({ gr_name: 'str', gr_passwd: 'void *', gr_gid: 'uint32_t', gr_mem: 'void *' });
const idOut = koffi.out(koffi.pointer('uint32_t'));

const fcntlVariadic = libc.func('fcntl', 'int', ['int', 'int', '...']);
const flockCall = libc.func('flock', 'int', ['int', 'int']) as (fd: number, operation: number) => number;

type LookUp<T> = (name: string, record: Partial<T>, buffer: Buffer, size: number, found: unknown[]) => number;
const lookUp = (name: string, record: TypeObject) =>
  libc.func(name, 'int', [
    'str',
    koffi.out(koffi.pointer(record)),
    'void *',
    'size_t',
    koffi.out(koffi.pointer('void *')),
  ]);

export interface Passwd {
  pw_name: string;
  pw_uid: number;
  pw_gid: number;
}
export interface Group {
  gr_name: string;
  gr_gid: number;
}
/** getpwnam_r(3) and getgrnam_r(3): 0 or an errno; `found[0]` is null when there is no such entry. */
export const getpwnam = lookUp('getpwnam_r', passwd) as LookUp<Passwd>;
export const getgrnam = lookUp('getgrnam_r', group) as LookUp<Group>;

type GetIds = (real: number[], effective: number[], saved: number[]) => number;
export const getresuid = libc.func('getresuid', 'int', [idOut, idOut, idOut]) as GetIds;
export const getresgid = libc.func('getresgid', 'int', [idOut, idOut, idOut]) as GetIds;

/** An error for a failed system call, like those of node:fs: `code` is the errno's name. */
export function systemError(syscall: string, errno: number): Error {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`${code}: ${syscall} failed`), { code, errno: -errno, syscall });
}

const { EAGAIN, EACCES } = koffi.os.errno;

/** Turns "somebody else has it" into false, and any other failure (ENOLCK, EBADF, ...) into a throw. */
function obtained(result: number, syscall: string): boolean {
  if (result !== -1) return true;
  const errno = koffi.errno();
  if (errno === EAGAIN || errno === EACCES) return false;
  throw systemError(syscall, errno);
}

/** fcntl(2) F_OFD_SETLK, by default over the whole file: from offset 0, length 0 (all there ever is). */
export function setOpenFileLock(fd: number, type: number, start: bigint | number = 0, length = 0): boolean {
  const lock = { l_type: type, l_whence: 0, l_start: start, l_len: length, l_pid: 0 };
  return obtained(fcntlVariadic(fd, platform.F_OFD_SETLK, flockPointer, lock), 'fcntl');
}

export function setFlock(fd: number, operation: number): boolean {
  return obtained(flockCall(fd, operation), 'flock');
}

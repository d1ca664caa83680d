/**
 * The one way to the disk for mailbox files and for our own state. Everything in this room reads,
 * writes, truncates and syncs through `SpoolIo`, so that a test can put a disk that fails, tears or
 * reorders in its place; `nodeIo` is the real one. Reads and writes are positioned and may be short,
 * as the system calls are: `readFully` and `writeFully` loop.
 *
 * What may have to wait for a disk goes to libuv's pool. What is in memory for certain is asked at once: a call that
 * takes a microsecond is not worth waking a thread, which takes ten.
 */
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import { errnoOf } from '../errors.js';
import type { FileStat, Host } from '../host/host.js';

export type { FileStat };

/** Where the system answers at once, so do we. */
export type MaybeLater<T> = T | Promise<T>;

/** What `next` makes of an answer: at once, if that is there. */
export function whenThere<T, R>(answer: MaybeLater<T>, next: (answer: T) => MaybeLater<R>): MaybeLater<R> {
  return answer instanceof Promise ? answer.then(next) : next(answer);
}

/** System calls, one method each. They reject, or throw, with Node's errors (`code` = errno name). */
export interface SpoolIo {
  /** @param seen whether the name was looked up a moment ago: then the disk is not asked again */
  open(path: string, flags: number, mode?: number, seen?: boolean): Promise<number>;
  close(fd: number): Promise<void>;
  /** @returns octets read, 0 at the end of the file */
  read(fd: number, into: Uint8Array, position: number): Promise<number>;
  /**
   * Reads what is in memory, at once.
   * @returns octets read, at least one; undefined when nothing is, or where nobody can tell
   */
  readCached?(fd: number, into: Uint8Array, position: number): number | undefined;
  /** @returns octets written, which may be fewer than given, without an error */
  write(fd: number, from: Uint8Array, position: number): Promise<number>;
  truncate(fd: number, size: number): Promise<void>;
  sync(fd: number): Promise<void>;
  fstat(fd: number): MaybeLater<FileStat>;
  /** @param seen as for `open` */
  lstat(path: string, seen?: boolean): MaybeLater<FileStat>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Makes the directory and its missing parents; says nothing when it is there. */
  mkdir(path: string, mode: number): Promise<void>;
  setTimes(fd: number, atimeNs: bigint, mtimeNs: bigint): Promise<void>;
}

const open = promisify(fs.open);
const fsync = promisify(fs.fsync);
const ftruncate = promisify(fs.ftruncate);
const lstat = promisify<string, { bigint: true }, fs.BigIntStats>(fs.lstat);
const futimes = promisify(fs.futimes);

const BIGINT = { bigint: true } as const;

function toFileStat(s: fs.BigIntStats): FileStat {
  return {
    dev: s.dev,
    ino: s.ino,
    nlink: Number(s.nlink),
    uid: Number(s.uid),
    gid: Number(s.gid),
    mode: Number(s.mode) & 0o7777,
    kind: s.isFile() ? 'file' : s.isDirectory() ? 'directory' : s.isSymbolicLink() ? 'symlink' : 'other',
    size: Number(s.size),
    atimeNs: s.atimeNs,
    mtimeNs: s.mtimeNs,
    ctimeNs: s.ctimeNs,
  };
}

const USUAL_MODE = 0o600;

/** The host's file system. */
export const nodeIo: SpoolIo = {
  open: async (path, flags, mode = USUAL_MODE, seen = false) =>
    seen ? fs.openSync(path, flags, mode) : open(path, flags, mode),
  close: async fd => fs.closeSync(fd),
  read: (fd, into, position) =>
    new Promise((resolve, reject) => {
      fs.read(fd, into, 0, into.length, position, (error, count) => (error ? reject(error) : resolve(count)));
    }),
  write: (fd, from, position) =>
    new Promise((resolve, reject) => {
      fs.write(fd, from, 0, from.length, position, (error, count) =>
        error ? reject(error) : resolve(count),
      );
    }),
  truncate: (fd, size) => ftruncate(fd, size),
  sync: fd => fsync(fd),
  fstat: async fd => toFileStat(fs.fstatSync(fd, BIGINT)),
  lstat: async (path, seen = false) =>
    toFileStat(seen ? fs.lstatSync(path, BIGINT) : await lstat(path, BIGINT)),
  rename: (from, to) => fs.promises.rename(from, to),
  unlink: path => fs.promises.unlink(path),
  mkdir: async (path, mode) => {
    await fs.promises.mkdir(path, { recursive: true, mode });
  },
  setTimes: (fd, atimeNs, mtimeNs) => futimes(fd, Number(atimeNs) / 1e9, Number(mtimeNs) / 1e9),
};

/** Octets that are copied in less time than waking a thread takes. */
const SHORT = 16 * 1024;

/** As open(2) has it, on Linux: a descriptor that only stands for the name. */
const O_PATH = 0o10000000;

/**
 * fstat(2), or lstat(2) for a path, at once.
 * @throws the error of the system call
 */
export function lookNow(
  { statOpen, statNamed }: Pick<Host, 'statOpen' | 'statNamed'>,
  what: number | string,
): FileStat {
  if (typeof what === 'number') return statOpen(what) ?? toFileStat(fs.fstatSync(what, BIGINT));
  return statNamed(what) ?? toFileStat(fs.lstatSync(what, BIGINT));
}

type Asked = Pick<Host, 'readCached' | 'openCached' | 'statOpen' | 'statNamed'>;

/** The host's file system, asked at once for what it has in memory: names, and short reads. */
export function hostIo(host: Asked): SpoolIo {
  const { readCached, openCached } = host;
  return {
    ...nodeIo,
    readCached,
    read: async (fd, into, position) =>
      (into.length <= SHORT ? readCached(fd, into, position) : undefined) ??
      (await nodeIo.read(fd, into, position)),
    open: async (path, flags, mode = USUAL_MODE, seen = false) => {
      if (seen) return fs.openSync(path, flags, mode);
      const isNew = (flags & fs.constants.O_CREAT) !== 0;
      return (isNew ? undefined : openCached(path, flags)) ?? (await nodeIo.open(path, flags, mode));
    },
    fstat: fd => lookNow(host, fd),
    lstat: (path, seen = false) => {
      if (seen) return lookNow(host, path);
      const fd = openCached(path, O_PATH | fs.constants.O_NOFOLLOW);
      if (fd === undefined) return nodeIo.lstat(path);
      try {
        return lookNow(host, fd);
      } finally {
        fs.closeSync(fd);
      }
    },
  };
}

/** @param seen as for `SpoolIo.lstat` @returns undefined when there is nothing of that name */
export function lookAt(io: SpoolIo, path: string, seen = false): MaybeLater<FileStat | undefined> {
  try {
    const looked = io.lstat(path, seen);
    return looked instanceof Promise ? looked.catch(undefinedIfMissing) : looked;
  } catch (error) {
    return undefinedIfMissing(error);
  }
}

function undefinedIfMissing(error: unknown): undefined {
  if (errnoOf(error) !== 'ENOENT') throw error;
}

/** Whether a call failed because a disk, a quota or a limit on the size of files is full. */
export function isNoRoom(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(errnoOf(error) ?? '');
}

/** Runs a call again for as long as a signal interrupts it. */
export async function uninterrupted<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (errnoOf(error) !== 'EINTR') throw error;
    }
  }
}

/**
 * Fills `into` from `position` on, looping over short reads.
 * @returns octets read: fewer than `into.length` only at the end of the file
 */
export async function readFully(
  io: SpoolIo,
  fd: number,
  into: Uint8Array,
  position: number,
): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const count = await uninterrupted(() => io.read(fd, into.subarray(done), position + done));
    if (count === 0) break;
    done += count;
  }
  return done;
}

/** Writes all of `from` at `position`, looping over short writes: a full disk gives a short count first. */
export async function writeFully(io: SpoolIo, fd: number, from: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < from.length) {
    const count = await uninterrupted(() => io.write(fd, from.subarray(done), position + done));
    if (count === 0) throw new Error('write(2) wrote nothing');
    done += count;
  }
}

/** fsync(2) of a directory: makes a rename in it durable. */
export async function syncDirectory(io: SpoolIo, dir: string): Promise<void> {
  const fd = await io.open(dir, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  try {
    await io.sync(fd);
  } finally {
    await io.close(fd);
  }
}

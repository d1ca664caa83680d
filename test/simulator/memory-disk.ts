/**
 * A disk in memory, as the interface through which the real open, UPDATE and recovery do all their I/O.
 * It remembers what is durable apart from what is not (`unsynced.ts`), tells a listener of the world
 * after each call that changed it, and can be told to fail, come short, or leave a step out.
 */
import { constants } from 'node:fs';
import type { FileStat, SpoolIo } from '../../lib/maildrop/io.js';
import { SECTOR } from '../../lib/maildrop/journal-format.js';
import { noncesDrawn } from './nonces.js';
import { durableFile, type MemoryFile, synced, syncFailed, truncated, written } from './unsynced.js';
import {
  applied,
  type Change,
  DIRECTORY_INO,
  type Directory,
  nameOf,
  parentOf,
  type World,
} from './world.js';

export type CallName = keyof SpoolIo;

/** One call, as faults and ablations see it. */
export interface Call {
  readonly name: CallName;
  /** 1 for the first call on this disk. */
  readonly number: number;
  readonly path: string;
  /** Of `write`. */
  readonly octets?: Uint8Array;
  /** Of `read` and `write`; the new size of `truncate`. */
  readonly position?: number;
  /** Changes of the same file before it, since it was opened or last synced: `write 512`, `truncate`, ... */
  readonly since: readonly string[];
}

/** What to do instead of the call: fail, do less, or pretend that it was done. */
export type Interference =
  | { readonly error: string; readonly fate?: (sector: number) => 'written' | 'pending' | 'lost' }
  | { readonly atMost: number }
  | 'pretend';

export interface DiskOptions {
  /** Whether a truncate may clear the rest of its last block before the new size is durable; it may. */
  readonly clearsBlocks?: boolean;
  readonly interfere?: (call: Call) => Interference | undefined;
  /** Whether there is not a block left: no name, no octet behind the end of a file can be added. */
  readonly full?: boolean;
  /** Rewrites what reads, writes and fstat carry: for an ablation that no left-out call can make. */
  readonly onRead?: (call: Call, octets: Uint8Array, world: World) => void;
  readonly onWrite?: (call: Call, octets: Uint8Array, world: World) => Uint8Array;
  readonly onStat?: (path: string, stat: FileStat, world: World) => FileStat;
  /** Told the world after each change; `torn` when only a part of a write was done. */
  readonly onChange?: (world: World, call: Call, torn: boolean) => void;
}

interface Handle {
  readonly path: string;
  readonly ino: bigint;
  readonly since: string[];
}

const NOTHING: readonly string[] = [];

export class MemoryDisk implements SpoolIo {
  #files: ReadonlyMap<bigint, MemoryFile>;
  #directories: ReadonlyMap<string, Directory>;
  readonly #handles = new Map<number, Handle>();
  #nextFd = 3;
  #clock = 1n;
  #calls = 0;

  constructor(
    world: World,
    private readonly options: DiskOptions = {},
  ) {
    this.#files = world.files;
    this.#directories = world.directories;
  }

  get world(): World {
    return { files: this.#files, directories: this.#directories, nonces: noncesDrawn() };
  }

  get calls(): number {
    return this.#calls;
  }

  /** Descriptors not closed. */
  get openFiles(): number {
    return this.#handles.size;
  }

  open(path: string, flags: number, mode = 0o600): Promise<number> {
    return this.#do('open', path, {}, call => {
      if ((flags & constants.O_DIRECTORY) !== 0) {
        if (!this.#directories.has(path)) throw failure('ENOENT', path);
        return this.#handle(path, DIRECTORY_INO);
      }
      const directory = this.#directory(parentOf(path));
      let ino = directory.now.get(nameOf(path));
      if (ino === undefined) {
        if ((flags & constants.O_CREAT) === 0) throw failure('ENOENT', path);
        this.#mustHaveRoom(path);
        ino = 1n + [...this.#files.keys()].reduce((most, one) => (one > most ? one : most), 0n);
        this.#files = new Map(this.#files).set(ino, durableFile(ino, Buffer.alloc(0), { mode }));
        this.#change(parentOf(path), new Map([[nameOf(path), ino]]), call);
      } else {
        if ((flags & constants.O_EXCL) !== 0) throw failure('EEXIST', path);
        const file = this.#file(ino);
        if (file.kind === 'symlink' && (flags & constants.O_NOFOLLOW) !== 0) throw failure('ELOOP', path);
        if ((flags & constants.O_TRUNC) !== 0) this.#put(truncated(file, 0, this.#tick()), call);
      }
      return this.#handle(path, ino);
    });
  }

  close(fd: number): Promise<void> {
    return this.#do('close', this.#of(fd).path, {}, () => {
      this.#handles.delete(fd);
    });
  }

  read(fd: number, into: Uint8Array, position: number): Promise<number> {
    const { path, ino } = this.#of(fd);
    return this.#do('read', path, { position }, (call, most) => {
      const file = this.#file(ino);
      const octets = file.now.subarray(position, position + Math.min(most, into.length));
      into.set(octets);
      this.options.onRead?.(call, into.subarray(0, octets.length), this.world);
      return octets.length;
    });
  }

  write(fd: number, from: Uint8Array, position: number): Promise<number> {
    const { path, ino, since } = this.#of(fd);
    return this.#do('write', path, { position, octets: from, since: [...since] }, (call, most) => {
      const changed = this.options.onWrite?.(call, from, this.world) ?? from;
      const octets = changed.subarray(0, most);
      const file = this.#file(ino);
      if (position + octets.length > file.now.length) this.#mustHaveRoom(path);
      const time = this.#tick();
      since.push(`write ${position}${octets.some(octet => octet !== 0) ? '' : ' zero'}`);
      // A kill in the middle of a call leaves the first part of it, in whole sectors.
      if (this.options.onChange !== undefined) {
        for (let cut = SECTOR - (position % SECTOR); cut < octets.length; cut += SECTOR) {
          this.#put(written(file, octets.subarray(0, cut), position, time), call, true);
        }
      }
      this.#put(written(file, octets, position, time), call);
      return octets.length;
    });
  }

  truncate(fd: number, size: number): Promise<void> {
    const { path, ino, since } = this.#of(fd);
    return this.#do('truncate', path, { position: size, since: [...since] }, call => {
      since.push(`truncate ${size}`);
      const clears = this.options.clearsBlocks ?? true;
      this.#put(truncated(this.#file(ino), size, this.#tick(), clears), call);
    });
  }

  sync(fd: number): Promise<void> {
    const { path, ino, since } = this.#of(fd);
    return this.#do('sync', path, { since: since.splice(0) }, call => {
      if (ino !== DIRECTORY_INO) return this.#put(synced(this.#file(ino)), call);
      const { now } = this.#directory(path);
      this.#directories = new Map(this.#directories).set(path, { now, disk: now, changes: [] });
      this.options.onChange?.(this.world, call, false);
    });
  }

  fstat(fd: number): Promise<FileStat> {
    const { path, ino } = this.#of(fd);
    return this.#do('fstat', path, {}, () => this.#stat(path, ino));
  }

  lstat(path: string): Promise<FileStat> {
    return this.#do('lstat', path, {}, () => {
      if (this.#directories.has(path)) return this.#stat(path, DIRECTORY_INO);
      const ino = this.#directory(parentOf(path)).now.get(nameOf(path));
      if (ino === undefined) throw failure('ENOENT', path);
      return this.#stat(path, ino);
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#do('rename', from, {}, call => {
      const ino = this.#directory(parentOf(from)).now.get(nameOf(from));
      if (ino === undefined) throw failure('ENOENT', from);
      const change = new Map<string, bigint | undefined>([
        [nameOf(from), undefined],
        [nameOf(to), ino],
      ]);
      // An open file is called by its name.
      for (const [fd, handle] of this.#handles) {
        if (handle.path === from) this.#handles.set(fd, { ...handle, path: to });
      }
      this.#change(parentOf(from), change, call);
    });
  }

  unlink(path: string): Promise<void> {
    return this.#do('unlink', path, {}, call => {
      if (!this.#directory(parentOf(path)).now.has(nameOf(path))) throw failure('ENOENT', path);
      this.#change(parentOf(path), new Map([[nameOf(path), undefined]]), call);
    });
  }

  mkdir(path: string): Promise<void> {
    return this.#do('mkdir', path, {}, call => {
      if (this.#directories.has(path)) return;
      this.#mustHaveRoom(path);
      const empty = { now: new Map(), disk: new Map(), changes: [] };
      this.#directories = new Map(this.#directories).set(path, empty);
      this.#change(parentOf(path), new Map([[nameOf(path), DIRECTORY_INO]]), call);
    });
  }

  setTimes(fd: number, atimeNs: bigint, mtimeNs: bigint): Promise<void> {
    const { path, ino } = this.#of(fd);
    return this.#do('setTimes', path, {}, call => {
      this.#put({ ...this.#file(ino), atimeNs, mtimeNs, ctimeNs: this.#tick() }, call);
    });
  }

  /** Makes the call, or what the interference makes of it. */
  #do<T>(
    name: CallName,
    path: string,
    more: Partial<Call>,
    work: (call: Call, most: number) => T,
  ): Promise<T> {
    const call: Call = { name, number: ++this.#calls, path, since: NOTHING, ...more };
    const meddling = this.options.interfere?.(call);
    try {
      if (meddling === undefined) return Promise.resolve(work(call, Number.POSITIVE_INFINITY));
      if (meddling === 'pretend') return Promise.resolve((call.octets?.length ?? undefined) as T);
      if ('atMost' in meddling) return Promise.resolve(work(call, meddling.atMost));
      // close(2) gives the descriptor back whatever it says.
      if (name === 'close') work(call, 0);
      if (name === 'sync' && meddling.fate !== undefined) this.#failSync(path, meddling.fate);
      return Promise.reject(failure(meddling.error, path));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #failSync(path: string, fate: (sector: number) => 'written' | 'pending' | 'lost'): void {
    const ino = this.#directory(parentOf(path)).now.get(nameOf(path));
    const file = ino === undefined ? undefined : this.#files.get(ino);
    if (file !== undefined) this.#files = new Map(this.#files).set(file.ino, syncFailed(file, fate));
  }

  #mustHaveRoom(path: string): void {
    if (this.options.full === true) throw failure('ENOSPC', path);
  }

  #change(path: string, change: Change, call: Call): void {
    const { now, disk, changes } = this.#directory(path);
    const names = applied(now, [change]);
    const directory = { now: names, disk, changes: [...changes, change] };
    this.#directories = new Map(this.#directories).set(path, directory);
    this.#told(call, false);
  }

  #put(file: MemoryFile, call: Call, torn = false): void {
    if (this.#files.get(file.ino) === file) return;
    this.#files = new Map(this.#files).set(file.ino, file);
    this.#told(call, torn);
  }

  #told(call: Call, torn: boolean): void {
    this.options.onChange?.(this.world, call, torn);
  }

  #stat(path: string, ino: bigint): FileStat {
    const times = { atimeNs: 1n, mtimeNs: 1n, ctimeNs: 1n };
    if (ino === DIRECTORY_INO) {
      return { dev: 1n, ino, nlink: 2, uid: 0, gid: 0, mode: 0o700, kind: 'directory', size: 0, ...times };
    }
    const { uid, mode, nlink, kind, now, atimeNs, mtimeNs, ctimeNs } = this.#file(ino);
    const stat = {
      dev: 1n,
      ino,
      nlink,
      uid,
      gid: 0,
      mode,
      kind,
      size: now.length,
      atimeNs,
      mtimeNs,
      ctimeNs,
    };
    return this.options.onStat?.(path, stat, this.world) ?? stat;
  }

  #handle(path: string, ino: bigint): number {
    const fd = this.#nextFd++;
    this.#handles.set(fd, { path, ino, since: [] });
    return fd;
  }

  #of(fd: number): Handle {
    const handle = this.#handles.get(fd);
    if (handle === undefined) throw failure('EBADF', String(fd));
    return handle;
  }

  #file(ino: bigint): MemoryFile {
    const file = this.#files.get(ino);
    if (file === undefined) throw failure('EIO', `inode ${ino}`);
    return file;
  }

  #directory(path: string): Directory {
    const directory = this.#directories.get(path);
    if (directory === undefined) throw failure('ENOENT', path);
    return directory;
  }

  #tick(): bigint {
    return 1_000_000_000n * ++this.#clock;
  }
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}

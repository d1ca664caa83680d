/**
 * One open mailbox file: the only place that opens, reads or rewrites a spool file.
 * A name in the spool is hostile until fstat(2) on our own descriptor has said what it is: a symbolic
 * link, hard link, FIFO, device, directory or somebody else's file is refused and not touched, and
 * nothing here can hang on one (failure-checks C23). After that only the descriptor is trusted.
 */
import { constants } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { errnoOf, Unavailable } from '../errors.js';
import type { Kernel } from '../mbox/kernel/kernel.js';
import type { MailboxIndex } from '../mbox/mailbox-index.js';
import { type FileStat, lookAt, type MaybeLater, readFully, type SpoolIo, whenThere } from './io.js';
import type { Rest } from './rest.js';
import { type ScanOptions, scanFile } from './scan-file.js';

/** Milliseconds until the next looks at a file to which somebody may be appending. On a busy host it may take a while. */
const APPENDING = [1, 4, 16, 64];

/** Linux only: reading then leaves the access time, by which biff(1) and mutt tell new mail, alone. */
const O_NOATIME: number = constants.O_NOATIME ?? 0;

/** How two looks at a file compare: `grown` is what an append leaves behind. */
export type Change = 'same' | 'grown' | 'other';

/** Compares two looks at the same path or descriptor. */
export function changeBetween(before: FileStat, now: FileStat): Change {
  if (before.dev !== now.dev || before.ino !== now.ino) return 'other';
  if (before.size === now.size && before.mtimeNs === now.mtimeNs && before.ctimeNs === now.ctimeNs) {
    return 'same';
  }
  return now.size > before.size ? 'grown' : 'other';
}

export interface OpenOptions {
  /** The uid that must own the file. */
  readonly owner: number;
  /** Whether the file may be rewritten (else it is opened for reading only). */
  readonly writable: boolean;
  /** Undefined for the twins in TypeScript. */
  readonly kernel?: Kernel | undefined;
  /** The path, if it was looked at just now. */
  readonly named?: Promise<FileStat | undefined> | undefined;
}

export class MailboxFile {
  /** When it is to be closed for a while, and opened again; undefined where it stays open. */
  rest: Rest | undefined;
  #fd: number | undefined;
  #reopening: Promise<void> | undefined;
  #over = false;

  private constructor(
    readonly io: SpoolIo,
    readonly path: string,
    fd: number,
    /** What the descriptor is open on, whatever becomes of the path, as it was then. */
    readonly opened: FileStat,
    private readonly options: OpenOptions,
  ) {
    this.#fd = fd;
  }

  get kernel(): Kernel | undefined {
    return this.options.kernel;
  }

  /** For locks, and for the rewrite: after `stayOpen`. */
  get fd(): number {
    if (this.#fd === undefined) throw new Error('the mailbox file is closed');
    return this.#fd;
  }

  /**
   * Opens the mailbox file.
   * @returns undefined when there is none: an empty maildrop, and nothing is created
   * @throws Unavailable SYS/PERM for what will never be a mailbox, SYS/TEMP for what may pass
   */
  static async open(io: SpoolIo, path: string, options: OpenOptions): Promise<MailboxFile | undefined> {
    // Looked at first, so that a FIFO or a device is not even opened.
    let named: FileStat | undefined;
    try {
      named = await (options.named ?? lookAt(io, path));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw cannotOpen(error);
    }
    if (named === undefined) return undefined;
    refuseUnlessMailbox(named, options.owner);
    const access = options.writable ? constants.O_RDWR : constants.O_RDONLY;
    const flags = access | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const fd = await openQuietly(io, path, flags, named.uid);
    if (fd === undefined) return undefined;
    try {
      const looked = io.fstat(fd);
      const opened = looked instanceof Promise ? await looked : looked;
      refuseUnlessMailbox(opened, options.owner);
      const { owner, writable, kernel } = options; // The rest is not needed again.
      return new MailboxFile(io, path, fd, opened, { owner, writable, kernel });
    } catch (error) {
      await io.close(fd);
      throw error;
    }
  }

  /** fstat(2). */
  stat(): MaybeLater<FileStat> {
    return this.#use(() => this.io.fstat(this.fd));
  }

  /**
   * fstat(2) for whoever holds no lock, after an earlier look. write(2) sets the time of a file before its size: in
   * between, an append looks like a rewrite, which is therefore believed only if it still looks like one later.
   */
  async statSince(before: FileStat): Promise<FileStat> {
    let now = await this.stat();
    for (const pause of APPENDING) {
      if (now.size !== before.size || changeBetween(before, now) !== 'other') break;
      await delay(pause);
      now = await this.stat();
    }
    return now;
  }

  /**
   * Whether the path still names this file, under this one name. A program that rewrites by rename(2)
   * leaves us with a file that nobody will ever look at again.
   */
  isCurrent(): MaybeLater<boolean> {
    const { dev, ino } = this.opened;
    return whenThere(
      lookAt(this.io, this.path, true),
      named => named?.dev === dev && named.ino === ino && named.nlink === 1,
    );
  }

  /**
   * Reads [start, end), or less at the end of the file, into a fresh array.
   * @param end at most 1 MiB past `start`: callers never hold a message
   */
  async read(start: number, end: number): Promise<Buffer> {
    const into = Buffer.allocUnsafe(end - start);
    return into.subarray(0, await this.readInto(into, start));
  }

  /** Fills `into` from `start` on. @returns how many octets: fewer only at the end of the file */
  readInto(into: Buffer, start: number): Promise<number> {
    return this.#use(() => readFully(this.io, this.fd, into, start));
  }

  /**
   * Fills `into` from `start` on with what is in memory, at once.
   * @returns whether all of it was, and the file was not closed to rest
   */
  readCached(into: Buffer, start: number): boolean {
    return this.#fd !== undefined && this.io.readCached?.(this.#fd, into, start) === into.length;
  }

  /**
   * Indexes the file, in one pass of bounded memory.
   * @throws NotMbox when the first line is no From_ line
   */
  scan(options: ScanOptions = {}): Promise<MailboxIndex> {
    return this.#use(() => scanFile(this, options));
  }

  /** Closes the descriptor for good, and with it ends every kernel lock held through it. */
  async close(): Promise<void> {
    this.#over = true;
    await this.letGo();
  }

  /** Closes the descriptor, if it is open. There must be no lock on it. */
  async letGo(): Promise<void> {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) await this.io.close(fd);
  }

  /**
   * Opens the file again if it was closed to rest. Whoever uses `fd` does so inside `rest.use`.
   * @throws Unavailable as `open`, and SYS/TEMP (fatal) when the path names another file now
   */
  async stayOpen(): Promise<void> {
    if (this.#fd !== undefined) return;
    if (this.#over) throw new Error('the mailbox file is closed');
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined;
    });
    await this.#reopening;
  }

  /**
   * The number of an inode may be given to another file while we have it not open. That looks like a file that was
   * rewritten in place, and is found out as one: by its times, or by what stands in it.
   */
  async #reopen(): Promise<void> {
    // What was seen of the path before the first time is of no use now.
    const again = await MailboxFile.open(this.io, this.path, { ...this.options, named: undefined });
    if (again?.opened.dev === this.opened.dev && again.opened.ino === this.opened.ino) {
      this.#fd = again.fd;
      return;
    }
    await again?.close();
    throw new Unavailable('SYS/TEMP', 'mailbox was replaced by another program', { fatal: true });
  }

  #use<T>(work: () => Promise<T>): Promise<T>;
  #use<T>(work: () => MaybeLater<T>): MaybeLater<T>;
  #use<T>(work: () => MaybeLater<T>): MaybeLater<T> {
    if (this.rest === undefined) return work();
    return this.rest.use(async () => {
      await this.stayOpen();
      return work();
    });
  }
}

/** Whether this process was told that O_NOATIME is not for it on files of others. */
let othersKeepTime = true;

/** open(2), of a file just looked at, with O_NOATIME where we own it, without it elsewhere. Undefined for ENOENT. */
async function openQuietly(
  io: SpoolIo,
  path: string,
  flags: number,
  owner: number,
): Promise<number | undefined> {
  const own = owner === process.geteuid?.();
  for (const extra of O_NOATIME !== 0 && (own || othersKeepTime) ? [O_NOATIME, 0] : [0]) {
    try {
      return await io.open(path, flags | extra, 0, true);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'ENOENT') return undefined;
      if (errno !== 'EPERM' || extra === 0) throw cannotOpen(error);
      othersKeepTime &&= own;
    }
  }
  return undefined;
}

function cannotOpen(cause: unknown): Unavailable {
  const errno = errnoOf(cause);
  if (errno === 'ELOOP') return notAMailbox('it is a symbolic link');
  if (errno === 'EACCES' || errno === 'EPERM' || errno === 'EROFS') {
    return new Unavailable('SYS/PERM', 'mailbox file cannot be opened', { cause });
  }
  return new Unavailable('SYS/TEMP', 'mailbox file cannot be opened', { cause });
}

function notAMailbox(why: string): Unavailable {
  return new Unavailable('SYS/PERM', 'mailbox file refused', { cause: new Error(why) });
}

function refuseUnlessMailbox(stat: FileStat, owner: number): void {
  if (stat.kind === 'symlink') throw notAMailbox('it is a symbolic link');
  if (stat.kind !== 'file') throw notAMailbox('it is not a regular file');
  if (stat.nlink !== 1) throw notAMailbox(`it has ${stat.nlink} links`);
  if (stat.uid !== owner) {
    const whose = owner < 0 ? 'and no user of this name may have one' : `not ${owner}`;
    throw notAMailbox(`it is owned by uid ${stat.uid}, ${whose}`);
  }
}

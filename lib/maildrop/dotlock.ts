/**
 * The dotlock `MAILBOX.lock`, by proper-lockfile, which supplies the waiting, the refreshing of the
 * lock's time and the notice when it is lost. Out of the box that package makes a *directory*, which no
 * mail program can break when stale; through its `fs` option we give it the lock every mail program
 * knows: a file with our pid, made by link(2) so that it holds on NFS too.
 *
 * Invariant: we unlink a lock file only if it is the inode we made, or, breaking a stale one, the very
 * inode we judged, under the kernel lock on the mailbox, so that two breakers cannot take it from each
 * other. When a lock is stale: `stale-dotlock.ts`.
 */
import * as fs from 'node:fs';
import lockfile from 'proper-lockfile';
import { errnoOf } from '../errors.js';
import type { Host } from '../host/host.js';
import { LockFs, TimesOfFiles } from './dotlock-fs.js';
import {
  dropLockFile,
  keepSpare,
  type LockFile,
  lockGone,
  lockTaken,
  makeLockFile,
  takeSpare,
  temporaryName,
  wantsSpare,
} from './lock-file.js';
import { inspectDotlock, type LockSighting, sameSighting } from './stale-dotlock.js';

// A write past the limit on the size of files must fail with EFBIG. Node.js ignores the signal that comes
// with it; proper-lockfile's signal-exit listens to it and, as the only listener, ends the process.
process.on('SIGXFSZ', () => {});

/** A lock unchanged for this long, with a mailbox unchanged for as long, is stale. Milliseconds. */
export const STALE_AFTER = 300_000;
/** How often our own lock is touched. maildrop(1) breaks one left alone for 60 s. Milliseconds. */
const REFRESH_EVERY = 10_000;

const BIGINT = { bigint: true } as const;
const UNLESS_GONE = { bigint: true, throwIfNoEntry: false } as const;

export interface DotlockOptions {
  readonly mailboxPath: string;
  /**
   * The mailbox file, open for writing, for the kernel lock that breaking a stale lock needs. Undefined
   * for a session that may only read: it leaves stale locks alone.
   */
  readonly mailboxFd: number | undefined;
  readonly host: Host;
  /**
   * Runs a function with the group that may write the spool directory, where our own may not. Undefined
   * where it may.
   */
  readonly asSpoolGroup?: (<T>(run: () => T) => T) | undefined;
  /** Called once if somebody takes our lock away. */
  readonly onLost: (reason: Error) => void;
  /** Those of the spool, for all of its locks. Default: found out each time. */
  readonly times?: TimesOfFiles | undefined;
}

export class Dotlock {
  readonly path: string;
  #release: (() => Promise<void>) | undefined;
  /**
   * The lock file we made, while we hold it. It is kept open: were it closed, its inode number could be
   * given to the lock of a program that has taken ours for stale, and we would take that for our own.
   */
  #own: { dev: bigint; ino: bigint; file: LockFile } | undefined;
  /** Whether it was made just now: what is asked then is answered in the same turn, as it was made. */
  #fresh = false;
  /** The last lock of somebody else that we looked at. */
  #sighting: LockSighting | undefined;
  /** Our clock minus the file system's, milliseconds: on NFS the times of files are the server's. */
  #skew = 0;

  constructor(private readonly options: DotlockOptions) {
    this.path = `${options.mailboxPath}.lock`;
  }

  /** What is known of the lock that was in the way at the last failed `tryLock`. */
  get holder(): LockSighting | undefined {
    return this.#sighting;
  }

  /**
   * Takes the lock if it is free or stale, without waiting.
   * @returns false when somebody else holds it
   * @throws the error of the system call when it can be neither taken nor seen (EACCES, ENOSPC, ...)
   */
  async tryLock(): Promise<boolean> {
    const { times = new TimesOfFiles() } = this.options;
    const lockFs = this.#lockFs();
    times.tell(lockFs);
    try {
      this.#release = await lockfile.lock(this.options.mailboxPath, {
        lockfilePath: this.path,
        realpath: false,
        stale: STALE_AFTER,
        update: REFRESH_EVERY,
        retries: 0,
        fs: lockFs,
        onCompromised: error => {
          // The package may still have been looking at it when it was given back.
          if (this.#release === undefined && this.#own === undefined) return;
          this.#release = undefined;
          // Nobody refreshes it from now on: if it is still there, it would only be in everybody's way. That it
          // cannot be removed says no more than that it is lost.
          failureOf(() => this.#removeOwn());
          this.#disown();
          this.options.onLost(error);
        },
      });
      times.learn(lockFs);
      return true;
    } catch (error) {
      this.#disown();
      const errno = errnoOf(error);
      // ENOENT: ours was taken away as soon as it was made.
      if (['ELOCKED', 'EEXIST', 'EBUSY', 'ENOENT'].includes(errno ?? '')) return false;
      throw error;
    } finally {
      this.#fresh = false;
    }
  }

  /** Gives the lock back; nothing happens when it is not ours any more. */
  async unlock(): Promise<void> {
    const release = this.#release;
    this.#release = undefined;
    try {
      await release?.();
    } finally {
      this.#disown();
    }
  }

  #disown(): void {
    if (this.#own !== undefined) fs.closeSync(this.#notOwn(this.#own).fd);
  }

  #notOwn({ file }: { readonly file: LockFile }): LockFile {
    this.#own = undefined;
    lockGone();
    return file;
  }

  #lockFs(): LockFs {
    return new LockFs({
      create: () => this.#privileged(() => this.#create()),
      remove: () => this.#remove(),
      removeOwn: () => this.#removeOwn(),
      look: () => this.#look(),
      touch: (path, atime, mtime) => this.#touch(path, atime, mtime),
    });
  }

  #touch(path: string, atime: Date, mtime: Date): void | Promise<void> {
    if (!this.#fresh) return fs.promises.lutimes(path, atime, mtime);
    fs.lutimesSync(path, atime, mtime);
  }

  /**
   * Makes the lock: EEXIST when there is one. In one go, since the group that may write the spool is ours
   * for a moment only (`asSpoolGroup`), and that on this thread: a few system calls of microseconds.
   */
  #create(): void {
    const spare = takeSpare(this.options.mailboxPath);
    if (spare !== undefined && this.#createFrom(spare)) return;
    const file = makeLockFile(this.options.mailboxPath);
    try {
      this.#place(file);
    } catch (error) {
      dropLockFile(file);
      throw error;
    }
  }

  /** @returns false when the spare is no good any more @throws EEXIST when there is a lock */
  #createFrom(spare: LockFile): boolean {
    try {
      // Before anybody can take it for a stale lock.
      const now = new Date();
      fs.futimesSync(spare.fd, now, now);
      this.#place(spare);
      return true;
    } catch (error) {
      // Not where somebody has linked to it, which looks like a lock that was replaced.
      if (errnoOf(error) === 'EEXIST' && fs.fstatSync(spare.fd).nlink === 1) {
        keepSpare(spare);
        throw error;
      }
      dropLockFile(spare);
      return false;
    }
  }

  /** Gives a file of ours the name of the lock instead of its own. */
  #place(file: LockFile): void {
    // The answer of link(2) can get lost on NFS; the link count cannot (open(2), O_EXCL).
    const failure = failureOf(() => fs.linkSync(file.path, this.path));
    const made = fs.fstatSync(file.fd, BIGINT);
    // A change time nobody can set: that of a spare was its modification time, by our own clock.
    this.#skew = Date.now() - Number(made.ctimeMs);
    this.#own = { dev: made.dev, ino: made.ino, file };
    lockTaken();
    try {
      if (made.nlink !== 2n)
        throw failure ?? taken('link(2) had no effect, or somebody else has linked to it');
      fs.unlinkSync(file.path);
      if (!this.isOurs()) throw taken('the dotlock was replaced as it was made');
      this.#fresh = true;
    } catch (error) {
      // Where even this fails, it is stale when we are gone. The file is the caller's again, to be closed once.
      failureOf(() => {
        if (this.isOurs()) fs.unlinkSync(this.path);
      });
      this.#notOwn(this.#own);
      throw error;
    }
  }

  /** Whether the lock file is still the one we made: another program may have taken ours for stale. */
  isOurs(): boolean {
    const own = this.#own;
    const now = fs.lstatSync(this.path, UNLESS_GONE);
    return own !== undefined && now !== undefined && now.dev === own.dev && now.ino === own.ino;
  }

  /** stat as proper-lockfile wants it: of our lock the truth; of another's, a time that says whether it is stale. */
  #look(): { mtime: Date } | Promise<{ mtime: Date }> {
    return this.#fresh ? this.#seen(fs.lstatSync(this.path, BIGINT)) : this.#lookAgain();
  }

  async #lookAgain(): Promise<{ mtime: Date }> {
    const stat = await fs.promises.lstat(this.path, BIGINT);
    if (this.#own !== undefined) return this.#seen(stat);
    this.#sighting = await inspectDotlock(this.path, this.options.mailboxPath, this.options.host);
    if (this.#sighting.stale === 'at once') return { mtime: new Date(0) };
    return { mtime: new Date(this.#sighting.lastChange.getTime() + this.#skew) };
  }

  /** Ours was replaced: any time but the one we set says so. */
  #seen({ dev, ino, mtimeNs }: fs.BigIntStats): { mtime: Date } {
    return { mtime: this.#own?.dev === dev && this.#own.ino === ino ? asSet(mtimeNs) : new Date(0) };
  }

  /** rmdir as proper-lockfile wants it: releases our lock, or breaks the stale one just looked at. */
  #remove(): void | Promise<void> {
    if (this.#own === undefined) return this.#breakStale();
    this.#removeOwn(wantsSpare());
  }

  /** @param keep whether the file may be used again */
  #removeOwn(keep = false): void {
    this.#privileged(() => {
      if (!this.isOurs()) return;
      if (!keep || !this.#keepFile()) fs.unlinkSync(this.path);
    });
  }

  /** Takes the name of the lock away from our file. @returns false when it has it still */
  #keepFile(): boolean {
    const own = this.#own;
    if (own === undefined || !own.file.signed) return false;
    const aside = temporaryName(this.options.mailboxPath);
    if (failureOf(() => fs.renameSync(this.path, aside)) !== undefined) return false;
    const moved = fs.lstatSync(aside, BIGINT);
    if (moved.dev === own.dev && moved.ino === own.ino)
      keepSpare({ path: aside, fd: this.#notOwn(own).fd, signed: true });
    else {
      // Another program's, which has broken ours just now: it gets it back, unless there is a newer one by now.
      failureOf(() => fs.linkSync(aside, this.path));
      fs.unlinkSync(aside);
    }
    return true;
  }

  /**
   * Unlinking by name alone would be a race: between the judgement and the unlink the stale lock may
   * have become somebody's fresh one. So: under the kernel lock on the mailbox, look again, move it to a
   * name of our own, look at what was moved, and put it back if it is another.
   */
  async #breakStale(): Promise<void> {
    const judged = this.#sighting;
    const { host, mailboxFd, mailboxPath } = this.options;
    if (judged === undefined || judged.kind !== 'file') throw busy('the stale lock is not a regular file');
    if (mailboxFd === undefined) throw busy('a read-only session breaks no lock');
    if (!host.lockOpenFile(mailboxFd, 'write')) throw busy('the mailbox is locked by fcntl');
    try {
      const now = await inspectDotlock(this.path, mailboxPath, host);
      if (!sameSighting(now, judged)) throw busy('the lock changed as it was broken');
      this.#privileged(() => this.#removeStale(judged));
    } finally {
      host.unlockOpenFile(mailboxFd);
    }
  }

  #removeStale(judged: LockSighting): void {
    const aside = temporaryName(this.options.mailboxPath);
    const failure = failureOf(() => fs.renameSync(this.path, aside));
    // A sticky spool: only its owner may remove it.
    if (failure !== undefined) throw busy('the stale lock cannot be removed', failure);
    const moved = fs.lstatSync(aside, BIGINT);
    const same = moved.dev === judged.dev && moved.ino === judged.ino && moved.mtimeNs === judged.mtimeNs;
    // Another's is put back, unless there is a newer one by now: then its owner has lost it anyway.
    const notBack = same ? undefined : failureOf(() => fs.linkSync(aside, this.path));
    fs.unlinkSync(aside);
    if (!same) throw busy('the lock changed as it was broken', notBack);
  }

  #privileged<T>(run: () => T): T {
    return this.options.asSpoolGroup === undefined ? run() : this.options.asSpoolGroup(run);
  }
}

/** What `run` throws, if anything. */
function failureOf(run: () => void): unknown {
  try {
    run();
    return undefined;
  } catch (error) {
    return error;
  }
}

/**
 * The time that utimes(2) was given, in milliseconds: on its way there it is a floating-point number of seconds, which
 * often ends some nanoseconds short, and cutting those off would give another millisecond than proper-lockfile set.
 */
function asSet(timeNs: bigint): Date {
  return new Date(Number((timeNs + 500_000n) / 1_000_000n));
}

function taken(message: string): Error {
  return Object.assign(new Error(message), { code: 'EEXIST' });
}

function busy(message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), { code: 'EBUSY' });
}

/**
 * The dotlock `MAILBOX.lock`, by proper-lockfile, which supplies the waiting, the refreshing of the
 * lock's time and the notice when it is lost. Out of the box that package makes a *directory*, which no
 * mail program can break when stale; through its `fs` option we give it the lock every mail program
 * knows: a file with our pid, made by link(2) so that it holds on NFS too (`own-dotlock.ts`).
 *
 * When a lock is stale: `stale-dotlock.ts`; what is done then: `break-dotlock.ts`. One that names an UPDATE whose
 * journal this session has found is not broken but taken over, at once.
 */
import lockfile from 'proper-lockfile';
import { errnoOf } from '../errors.js';
import type { Host } from '../host/host.js';
import { type Breaking, breakDotlock, namesOurUpdate, takeOverDotlock } from './break-dotlock.js';
import { LockFs, TimesOfFiles } from './dotlock-fs.js';
import { failureOf, wantsSpare } from './lock-file.js';
import { type UpdateId, updateIdOf } from './lock-line.js';
import { OwnDotlock } from './own-dotlock.js';
import { inspectDotlock, type LockSighting } from './stale-dotlock.js';

// A write past the limit on the size of files must fail with EFBIG. Node.js ignores the signal that comes
// with it; proper-lockfile's signal-exit listens to it and, as the only listener, ends the process.
process.on('SIGXFSZ', () => {});

/** A lock unchanged for this long, with a mailbox unchanged for as long, is stale. Milliseconds. */
export const STALE_AFTER = 300_000;
/** How often our own lock is touched. maildrop(1) breaks one left alone for 60 s. Milliseconds. */
const REFRESH_EVERY = 10_000;

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
  /**
   * Whether we have the journal of one of these UPDATEs, and nobody else can be at it: only for who has the session
   * lock of the mailbox.
   */
  readonly isInterrupted?: ((updates: readonly UpdateId[]) => Promise<boolean>) | undefined;
  /** Called once if somebody takes our lock away. */
  readonly onLost: (reason: Error) => void;
  /** Those of the spool, for all of its locks. Default: found out each time. */
  readonly times?: TimesOfFiles | undefined;
}

export class Dotlock {
  readonly path: string;
  #release: (() => Promise<void>) | undefined;
  /** The lock we have. */
  #own: OwnDotlock | undefined;
  /** Whether it was made just now: what is asked then is answered in the same turn, as it was made. */
  #fresh = false;
  /** The last lock of somebody else that we looked at, and whether it is to be taken over. */
  #sighting: LockSighting | undefined;
  #interrupted = false;
  #takenOver: OwnDotlock | undefined;
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

  /** Whether the lock file is still the one we made: another program may have taken ours for stale. */
  isOurs(): boolean {
    return this.#own?.isNamed() ?? false;
  }

  /** See `UpdateLocks`. */
  updating(nonce: Uint8Array): void {
    this.#own?.nameUpdate(updateIdOf(nonce));
  }

  updated(): void {
    this.#own?.nameOwner();
  }

  #disown(): void {
    for (const own of [this.#own, this.#takenOver]) own?.close();
    this.#own = undefined;
    this.#takenOver = undefined;
  }

  #lockFs(): LockFs {
    return new LockFs({
      create: () => this.#privileged(() => this.#create()),
      remove: () => this.#remove(),
      removeOwn: () => this.#removeOwn(),
      look: () => (this.#own === undefined ? this.#lookAtAnother() : this.#own.look(this.#fresh)),
      touch: (_path, atime, mtime) => this.#own?.touch(atime, mtime, this.#fresh),
    });
  }

  #create(): void {
    this.#own =
      this.#takenOver ??
      OwnDotlock.make(this.path, this.options.mailboxPath, this.options.host, at => {
        this.#skew = Date.now() - at;
      });
    this.#takenOver = undefined;
    this.#fresh = true;
  }

  /** A time that says whether it is stale. */
  async #lookAtAnother(): Promise<{ mtime: Date }> {
    const { mailboxPath, host, isInterrupted } = this.options;
    this.#sighting = await inspectDotlock(this.path, mailboxPath, host);
    const updates = namesOurUpdate(this.#sighting);
    this.#interrupted = updates !== undefined && ((await isInterrupted?.(updates)) ?? false);
    if (this.#interrupted || this.#sighting.stale === 'at once') return { mtime: new Date(0) };
    return { mtime: new Date(this.#sighting.lastChange.getTime() + this.#skew) };
  }

  /** rmdir as proper-lockfile wants it: releases our lock, or takes the stale one just looked at out of the way. */
  #remove(): void | Promise<void> {
    if (this.#own === undefined) return this.#removeStale(this.#sighting);
    this.#removeOwn(wantsSpare());
  }

  async #removeStale(judged: LockSighting | undefined): Promise<void> {
    if (judged === undefined) throw new Error('no lock was looked at');
    if (this.#interrupted) this.#takenOver = await takeOverDotlock(this.#breaking(), judged);
    else await breakDotlock(this.#breaking(), judged);
  }

  #breaking(): Breaking {
    return { ...this.options, path: this.path, privileged: run => this.#privileged(run) };
  }

  /** @param keep whether the file may be used again */
  #removeOwn(keep = false): void {
    this.#privileged(() => this.#own?.remove(keep));
  }

  #privileged<T>(run: () => T): T {
    return this.options.asSpoolGroup === undefined ? run() : this.options.asSpoolGroup(run);
  }
}

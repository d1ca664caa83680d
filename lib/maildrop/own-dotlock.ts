/**
 * A dotlock of ours, from the moment it has its name to the moment it has lost it: made from a new file or a spare
 * one, or taken over from a process of ours that was killed in an UPDATE.
 *
 * Invariants: we unlink a lock file only if it is the inode we have open; and never one that says that the mailbox file
 * may be half done: it stays, to keep others away, until somebody finishes the UPDATE or it is old.
 */
import * as fs from 'node:fs';
import { errnoOf } from '../errors.js';
import type { FileStat, Host } from '../host/host.js';
import { lookNow } from './io.js';
import {
  dropLockFile,
  failureOf,
  keepSpare,
  type LockFile,
  lockGone,
  lockTaken,
  makeLockFile,
  takeSpare,
  temporaryName,
} from './lock-file.js';
import { ownerLine, replaceLine, type UpdateId, updateLine } from './lock-line.js';

/** Told when a lock file was made or not, by the clock of the file system: milliseconds, a time that nobody can set. */
type OnMade = (at: number) => void;

/** All that a lock needs of the host. */
type Looks = Pick<Host, 'statNamed' | 'statOpen'>;

/** As many as can be true at a time: while a journal is replaced, its own and that of the new one. */
const NAMED = 2;

export class OwnDotlock {
  /** The UPDATEs it names: the mailbox file may be half done. The last first. */
  #updates: readonly UpdateId[] = [];
  /** What `touch` has set last. */
  #touched: { readonly atime: Date; readonly mtime: Date } | undefined;
  /** What was seen as it was made, while nothing can have changed: in the same turn, and before `touch`. */
  #placed: FileStat | undefined;
  /** How often what it says was replaced: while that is done, it has another time for a moment. */
  #replaced = 0;
  #isOpen = true;
  /** Whether it says whose it is. */
  #isSigned: boolean;

  /**
   * It is kept open: were it closed, its inode number could be given to the lock of a program that has taken ours for
   * stale, and we would take that for our own.
   */
  private constructor(
    private readonly path: string,
    private readonly mailboxPath: string,
    private readonly file: LockFile,
    private readonly made: FileStat,
    private readonly host: Looks,
    /** Whether it was taken over. */
    private readonly isFound = false,
  ) {
    this.#isSigned = file.signed;
    lockTaken();
  }

  /**
   * Makes the lock: EEXIST when there is one. In one go, since the group that may write the spool is ours
   * for a moment only (`asSpoolGroup`), and that on this thread: a few system calls of microseconds.
   */
  static make(path: string, mailboxPath: string, host: Looks, onMade: OnMade): OwnDotlock {
    const spare = takeSpare(mailboxPath);
    const own = spare && OwnDotlock.#makeFrom(spare, path, mailboxPath, host, onMade);
    if (own !== undefined) return own;
    const file = makeLockFile(mailboxPath);
    try {
      return OwnDotlock.#place(file, path, mailboxPath, host, onMade);
    } catch (error) {
      dropLockFile(file);
      throw error;
    }
  }

  /**
   * Takes over a lock that is there, and never ceases to be.
   * @param fd open on it for writing; it is this lock's from now on
   * @param updates what it says
   */
  static takeOver(
    path: string,
    mailboxPath: string,
    fd: number,
    made: FileStat,
    updates: readonly UpdateId[],
    host: Looks,
  ): OwnDotlock {
    const own = new OwnDotlock(path, mailboxPath, { path, fd, signed: false }, made, host, true);
    own.#updates = updates;
    return own;
  }

  /** @returns undefined when the spare is no good any more @throws EEXIST when there is a lock */
  static #makeFrom(
    spare: LockFile,
    path: string,
    mailboxPath: string,
    host: Looks,
    onMade: OnMade,
  ): OwnDotlock | undefined {
    try {
      // Before anybody can take it for a stale lock.
      const now = new Date();
      fs.futimesSync(spare.fd, now, now);
      return OwnDotlock.#place(spare, path, mailboxPath, host, onMade);
    } catch (error) {
      // Not where somebody has linked to it, which looks like a lock that was replaced.
      if (errnoOf(error) === 'EEXIST' && fs.fstatSync(spare.fd).nlink === 1) {
        keepSpare(spare);
        throw error;
      }
      dropLockFile(spare);
      return undefined;
    }
  }

  /** Gives a file of ours the name of the lock instead of its own. If it throws, the file is the caller's again. */
  static #place(file: LockFile, path: string, mailboxPath: string, host: Looks, onMade: OnMade): OwnDotlock {
    // The answer of link(2) can get lost on NFS; the link count cannot (open(2), O_EXCL).
    const failure = failureOf(() => fs.linkSync(file.path, path));
    const own = new OwnDotlock(path, mailboxPath, file, lookNow(host, file.fd), host);
    onMade(Number(own.made.ctimeNs / 1_000_000n));
    try {
      if (own.made.nlink !== 2)
        throw failure ?? taken('link(2) had no effect, or somebody else has linked to it');
      fs.unlinkSync(file.path);
      const placed = own.#named();
      if (placed === undefined) throw taken('the dotlock was replaced as it was made');
      own.#placed = placed;
      return own;
    } catch (error) {
      // Where even this fails, it is stale when we are gone.
      failureOf(() => {
        if (own.isNamed()) fs.unlinkSync(path);
      });
      own.#isOver();
      throw error;
    }
  }

  /** Whether the lock file is still this one: another program may have taken ours for stale. */
  isNamed(): boolean {
    return this.#named() !== undefined;
  }

  /** What the name leads to, if that is this one. */
  #named(): FileStat | undefined {
    const now = this.#lookAt(this.path);
    return now !== undefined && this.#is(now) ? now : undefined;
  }

  #lookAt(path: string): FileStat | undefined {
    try {
      return lookNow(this.host, path);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  #is({ dev, ino }: Pick<FileStat, 'dev' | 'ino'>): boolean {
    return this.#isOpen && dev === this.made.dev && ino === this.made.ino;
  }

  /** Says that from now on the mailbox file may be half done, as the journal of this UPDATE describes it. */
  nameUpdate(id: UpdateId): void {
    if (this.#updates[0] === id) return;
    this.#updates = [id, ...this.#updates].slice(0, NAMED);
    this.#say(updateLine(this.#updates));
  }

  /** Says again whose it is: the mailbox file is whole. */
  nameOwner(): void {
    if (this.#updates.length === 0) return;
    this.#updates = [];
    this.#say(ownerLine());
  }

  #say(line: string): void {
    if (!this.#isOpen) return;
    this.#replaced++;
    // Others judge it by its age then, whether or not this has worked.
    const failure = failureOf(() => replaceLine(this.file.fd, line));
    this.#isSigned = failure === undefined && this.#updates.length === 0;
    // To the millisecond as `look` tells it, which would otherwise pass for another's doing.
    const { atime, mtime } = this.#touched ?? {
      atime: asSet(this.made.atimeNs),
      mtime: asSet(this.made.mtimeNs),
    };
    failureOf(() => fs.futimesSync(this.file.fd, atime, mtime));
  }

  touch(atime: Date, mtime: Date, atOnce: boolean): void | Promise<void> {
    this.#touched = { atime, mtime };
    this.#placed = undefined;
    if (!atOnce) return fs.promises.lutimes(this.path, atime, mtime);
    fs.lutimesSync(this.path, atime, mtime);
  }

  /** The time that `touch` has set; another one when the lock is not this one any more, or somebody else has set it. */
  look(atOnce: boolean): { mtime: Date } | Promise<{ mtime: Date }> {
    if (!atOnce) return this.#lookLater();
    const placed = this.#placed ?? lookNow(this.host, this.path);
    this.#placed = undefined;
    return this.#seen(placed);
  }

  async #lookLater(): Promise<{ mtime: Date }> {
    for (;;) {
      const replaced = this.#replaced;
      const stat = await fs.promises.lstat(this.path, { bigint: true });
      if (replaced === this.#replaced) return this.#seen(stat);
    }
  }

  #seen(stat: Pick<FileStat, 'dev' | 'ino' | 'mtimeNs'>): { mtime: Date } {
    return { mtime: this.#is(stat) ? asSet(stat.mtimeNs) : new Date(0) };
  }

  /** @param keep whether the file may be used again */
  remove(keep: boolean): void {
    if (!this.isNamed()) return;
    if (this.#updates.length === 0) {
      if (!keep || !this.#keepFile()) fs.unlinkSync(this.path);
    } else if (this.isFound) {
      // What is tried again and again, and fails, must not keep others away for ever: it is as old as it was.
      failureOf(() => fs.futimesSync(this.file.fd, asSet(this.made.atimeNs), asSet(this.made.mtimeNs)));
    }
  }

  /** Takes the name of the lock away from our file. @returns false when it has it still */
  #keepFile(): boolean {
    if (!this.#isSigned) return false;
    const aside = temporaryName(this.mailboxPath);
    if (failureOf(() => fs.renameSync(this.path, aside)) !== undefined) return false;
    const isOurs = this.#is(lookNow(this.host, aside));
    if (isOurs) {
      keepSpare({ path: aside, fd: this.file.fd, signed: true });
      this.#isOver();
    } else {
      // Another program's, which has broken ours just now: it gets it back, unless there is a newer one by now.
      failureOf(() => fs.linkSync(aside, this.path));
      fs.unlinkSync(aside);
    }
    return true;
  }

  /** It is not ours to look after any more. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOver();
    fs.closeSync(this.file.fd);
  }

  #isOver(): void {
    this.#isOpen = false;
    lockGone();
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

/**
 * The mailbox locks: what keeps delivery agents and mail readers off the file while we index or rewrite
 * it. A set of methods, all tried without waiting; if one is not had, the others are given back and,
 * after a pause with jitter, everything is tried again. We never wait for one lock while holding
 * another, so no other program's order of taking them can deadlock with ours (failure-checks C28).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, Unavailable } from '../errors.js';
import type { Host } from '../host/host.js';
import { Dotlock, type DotlockOptions } from './dotlock.js';
import { TimesOfFiles } from './dotlock-fs.js';
import { LOCK_METHODS, type LockMethod } from './lock-methods.js';

export type { LockMethod };

export interface LockTarget {
  readonly path: string;
  readonly fd: number;
  /** A descriptor open for reading only can take shared kernel locks only. */
  readonly writable: boolean;
  /** See `DotlockOptions`. */
  readonly isInterrupted?: DotlockOptions['isInterrupted'];
}

export interface HeldLocks {
  /** Looks whether all are still ours: a process that was stopped for long is not told at once. */
  intact(): boolean;
  /** See `UpdateLocks`. */
  updating(nonce: Uint8Array): void;
  updated(): void;
  release(): Promise<void>;
}

/** Locks the mailbox, or says by an IN-USE who was in the way when the time was up. */
export type LockMailbox = (target: LockTarget, timeout: number) => Promise<HeldLocks>;

/**
 * First and longest pause between two tries, milliseconds. The longest is short: who has waited for long must not try
 * so much more seldom than newcomers that a crowd of deliveries keeps a login out.
 */
const FIRST_PAUSE = 25;
const LONGEST_PAUSE = 200;

export interface LockerOptions {
  readonly host: Host;
  /** Which kinds of lock to take. */
  readonly methods: readonly LockMethod[];
  /** Called when another program has taken a held lock away. */
  readonly onLost: (path: string, reason: Error) => void;
  /** Asked before each wait; throws when the locks are not wanted any more. */
  readonly stop?: (() => void) | undefined;
  /** See `DotlockOptions`. */
  readonly asSpoolGroup?: DotlockOptions['asSpoolGroup'];
}

/** @returns locks the mailboxes of one spool */
export function mailboxLocker(options: LockerOptions): LockMailbox {
  const times = new TimesOfFiles();
  return async (target, timeout) => {
    const deadline = performance.now() + timeout;
    for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      const attempt = new Attempt(options, target, times);
      let complete = false;
      try {
        complete = await attempt.takeAll();
        if (complete) return attempt;
      } finally {
        if (!complete) await attempt.release();
      }
      options.stop?.();
      const left = deadline - performance.now();
      if (left <= 0) throw new Unavailable('IN-USE', attempt.obstacle);
      await sleep(Math.min(left, pause * (0.5 + Math.random())));
    }
  };
}

/** One try at the whole set; when it succeeds, the held set. */
class Attempt implements HeldLocks {
  #broken = false;
  /** For the client: what was in the way. */
  obstacle = '';
  readonly #undo: (() => Promise<void> | void)[] = [];
  #dotlock: Dotlock | undefined;

  constructor(
    private readonly options: LockerOptions,
    private readonly target: LockTarget,
    private readonly times: TimesOfFiles,
  ) {}

  async takeAll(): Promise<boolean> {
    for (const method of LOCK_METHODS) {
      if (!this.options.methods.includes(method)) continue;
      const taken = this.#take(method);
      if (!(taken instanceof Promise ? await taken : taken)) return false;
    }
    return true;
  }

  intact(): boolean {
    // Kernel locks cannot be taken away; a dotlock can.
    return !this.#broken && (this.#dotlock === undefined || this.#dotlock.isOurs());
  }

  // Without a dotlock there is nothing that says anything: a kernel lock is gone with its process.
  updating(nonce: Uint8Array): void {
    this.#dotlock?.updating(nonce);
  }

  updated(): void {
    this.#dotlock?.updated();
  }

  /** Gives back in reverse order. */
  async release(): Promise<void> {
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) {
      const undone = undo();
      if (undone) await undone;
    }
  }

  #take(method: LockMethod): boolean | Promise<boolean> {
    const { target } = this;
    const { host } = this.options;
    const kind = target.writable ? 'write' : 'read';
    switch (method) {
      case 'dotlock':
        return this.#takeDotlock();
      case 'fcntl':
        if (!host.lockOpenFile(target.fd, kind)) return this.#inTheWay('an fcntl lock');
        this.#undo.push(() => host.unlockOpenFile(target.fd));
        return true;
      case 'flock':
        if (!host.flock(target.fd, kind)) return this.#inTheWay('a flock');
        this.#undo.push(() => host.unflock(target.fd));
        return true;
    }
  }

  async #takeDotlock(): Promise<boolean> {
    const { target } = this;
    const { host, methods, onLost, asSpoolGroup } = this.options;
    const dotlock = new Dotlock({
      mailboxPath: target.path,
      mailboxFd: target.writable ? target.fd : undefined,
      host,
      asSpoolGroup,
      // Who updates has the kernel lock as well, which a killed process has not: a session lock alone can be removed
      // by a human, or be that of another host.
      isInterrupted: methods.includes('fcntl') ? target.isInterrupted : undefined,
      times: this.times,
      onLost: reason => {
        this.#broken = true;
        onLost(target.path, reason);
      },
    });
    try {
      if (await dotlock.tryLock()) {
        this.#dotlock = dotlock;
        this.#undo.push(() => dotlock.unlock());
        return true;
      }
    } catch (error) {
      const permanent = ['EACCES', 'EPERM', 'EROFS'].includes(errnoOf(error) ?? '');
      throw new Unavailable(permanent ? 'SYS/PERM' : 'SYS/TEMP', 'mailbox cannot be locked', {
        cause: error,
      });
    }
    const holder = dotlock.holder;
    if (holder === undefined) return this.#inTheWay('a dotlock');
    const since = new Date(Number(holder.mtimeNs / 1_000_000n)).toISOString();
    const pid = holder.pid === undefined ? '' : ` of process ${holder.pid}`;
    const update = holder.updates.length === 0 ? '' : ' of an update that goes on or was interrupted';
    return this.#inTheWay(`a dotlock${pid}${update}, owner uid ${holder.uid}, since ${since}`);
  }

  #inTheWay(what: string): false {
    this.obstacle = `mailbox is locked by another program (${what})`;
    return false;
  }
}

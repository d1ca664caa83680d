/**
 * One session's hold on its mailbox file: open, locked from login on, and unlocked again when
 * `lock-yield` is over, so that no delivery agent gives up because of our slowest client (design
 * promise P4). Whoever reads asks `held`: while it is true nothing can have moved; once it is false the
 * file must be looked at again. The UPDATE state takes the locks back with `relock`.
 */
import { Unavailable } from '../errors.js';
import type { SpoolIo } from './io.js';
import type { HeldLocks, LockMailbox, LockTarget } from './locks.js';
import { MailboxFile, type OpenOptions } from './mailbox-file.js';
import type { UpdateLocks } from './update-locks.js';

export interface AccessOptions extends OpenOptions {
  readonly io: SpoolIo;
  readonly lockMailbox: LockMailbox;
  /** How long to try for the locks, milliseconds. */
  readonly lockTimeout: number;
  /** See `DotlockOptions`. */
  readonly isInterrupted?: LockTarget['isInterrupted'];
  /** Told when giving back a lock failed. */
  readonly onError: (error: unknown) => void;
}

export class MailboxAccess implements UpdateLocks {
  #timer: NodeJS.Timeout | undefined;
  /** Done when the locks last given back are really gone. */
  #released: Promise<void> = Promise.resolve();

  private constructor(
    readonly file: MailboxFile,
    private readonly options: AccessOptions,
    private locks: HeldLocks | undefined,
  ) {}

  /**
   * Opens and locks the mailbox file.
   * @returns undefined when there is none
   * @throws Unavailable as `MailboxFile.open`, and IN-USE when the locks were not to be had in time
   */
  static async open(path: string, options: AccessOptions): Promise<MailboxAccess | undefined> {
    const deadline = performance.now() + options.lockTimeout;
    for (let { named } = options; ; named = undefined) {
      const file = await MailboxFile.open(options.io, path, { ...options, named });
      if (file === undefined) return undefined;
      let locks: HeldLocks | undefined;
      let current = false;
      try {
        const left = Math.max(0, deadline - performance.now());
        locks = await options.lockMailbox(targetOf(file, options), left);
        // A program that rewrites by rename(2) may have put another file there while we waited.
        const now = file.isCurrent();
        current = now instanceof Promise ? await now : now;
        if (current) return new MailboxAccess(file, options, locks);
      } finally {
        if (!current) {
          await locks?.release();
          await file.close();
        }
      }
      if (performance.now() > deadline) throw new Unavailable('IN-USE', 'mailbox is being replaced');
    }
  }

  /** Whether the mailbox locks are ours, so that nothing can have changed. */
  get held(): boolean {
    return this.locks?.intact() ?? false;
  }

  /**
   * Looks whether the locks are still ours, and the path still this file.
   * @throws Unavailable SYS/TEMP when not: then nothing may be written
   */
  async mustBeIntact(): Promise<void> {
    const current = await this.file.isCurrent();
    // Last, and at once: whoever breaks the lock after this look is not seen before the next one.
    if (this.locks === undefined || !this.locks.intact()) {
      throw new Unavailable('SYS/TEMP', 'another program took the mailbox lock away');
    }
    if (!current) throw new Unavailable('SYS/TEMP', 'mailbox was replaced by another program');
  }

  updating(nonce: Uint8Array): void {
    this.locks?.updating(nonce);
  }

  updated(): void {
    this.locks?.updated();
  }

  /** Gives the locks back after `delay` milliseconds, whatever the session is doing then. */
  yieldAfter(delay: number): void {
    this.#timer = setTimeout(() => this.yield(), delay);
    this.#timer.unref();
  }

  /** Gives the locks back now; `held` is false from this moment on. */
  yield(): void {
    clearTimeout(this.#timer);
    const { locks } = this;
    if (locks === undefined) return;
    this.locks = undefined;
    this.#released = this.#release(locks);
  }

  async #release(locks: HeldLocks): Promise<void> {
    try {
      await locks.release();
    } catch (error) {
      this.options.onError(error);
    }
    this.file.rest?.begin();
  }

  /**
   * Holds the locks from now until `close`, taking them again if they were yielded or broken.
   * @throws Unavailable IN-USE when they were not to be had, SYS/TEMP when the file was replaced
   */
  async relock(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.locks?.intact()) return this.mustBeIntact();
    this.yield();
    await this.#released;
    const { file, options } = this;
    await file.stayOpen();
    // Closing it would end a lock, and what was to be unlocked later might be the file of somebody else.
    await file.rest?.end();
    this.locks = await options.lockMailbox(targetOf(file, options), options.lockTimeout);
    await this.mustBeIntact();
  }

  /** Gives everything back. */
  async close(): Promise<void> {
    const resting = this.file.rest?.end();
    if (resting) await resting;
    this.yield();
    await this.#released;
    await this.file.close();
  }
}

function targetOf({ path, fd }: MailboxFile, { writable, isInterrupted }: AccessOptions): LockTarget {
  return { path, fd, writable, isInterrupted };
}

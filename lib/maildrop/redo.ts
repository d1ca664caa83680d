/**
 * Carries a committed journal out, in the order on which crash-safety rests (design §7):
 *
 *   phase 1   write the redo octets at `from` and the marker after them; fsync the mailbox
 *             write the phase record; fsync the journal
 *   phase 2   cut the mailbox at `newSize`; fsync the mailbox
 *   done      truncate the journal
 *
 * A crash at any point leaves a state that recovery brings to the same end. Mail appended behind the old
 * end, by an agent after a crash or by one that takes none of our locks, is put into a new journal first
 * (`rebase`), so that it is moved with the rest and cannot be cut off; or, where that has no room, moved by a
 * plan (`move-appended.ts`).
 */
import { Unavailable } from '../errors.js';
import { isNoRoom, type SpoolIo, writeFully } from './io.js';
import type { Journal } from './journal.js';
import { type JournalHeader, markerOf, REDO_AT } from './journal-format.js';
import type { MailboxFile } from './mailbox-file.js';
import type { MoveAppended } from './move-appended.js';
import { alignedChunks } from './ranges.js';
import type { UpdateLocks } from './update-locks.js';

/** Times the mailbox is written again when fsync(2) fails, before we give up on the disk. */
export const SYNC_TRIES = 3;

/** The disk does not take what it was given: the journal is kept, and this process should end. */
export class DiskFailure extends Unavailable {
  constructor(cause: unknown) {
    super('SYS/TEMP', 'some deleted messages not removed', { cause, fatal: true });
  }
}

export class Redo {
  private readonly io: SpoolIo;
  #begun = false;

  /** @param locks asked right before each write to the mailbox and before it is cut; if that throws, nothing more is done */
  constructor(
    private readonly mailbox: MailboxFile,
    private readonly journal: Journal,
    private header: JournalHeader,
    private readonly locks: UpdateLocks,
    private readonly moveAppended: MoveAppended,
  ) {
    this.io = mailbox.io;
  }

  /** Whether anything was written to the mailbox: until then the journal can still be withdrawn. */
  get begun(): boolean {
    return this.#begun;
  }

  /**
   * From phase 1 to the end. Appended mail is looked for only when the mailbox is durable: the new journal
   * describes what it reads of it, which after a failed fsync(2) is not what the disk has.
   */
  async run(): Promise<void> {
    this.locks.updating(this.header.nonce);
    for (;;) {
      await this.#appended();
      const marker = markerOf(this.header);
      await this.#write(marker);
      await this.#syncMailbox(marker);
      if ((await this.#appended()) > 0) {
        if (await this.#rebase()) return;
        continue;
      }
      await this.journal.beginCut(this.header);
      if (await this.finishCut()) return;
    }
  }

  /**
   * From phase 2 on, the marker being where the cut will be.
   * @returns false when mail was appended behind the old end: then there is a new journal in phase 1
   */
  async finishCut(): Promise<boolean> {
    await this.locks.mustBeIntact();
    if ((await this.#appended()) > 0) {
      return this.#rebase();
    }
    await this.io.truncate(this.mailbox.fd, this.header.newSize);
    // No marker any more: what stands there now may be mail that came since.
    await this.#syncMailbox(new Uint8Array());
    this.locks.updated();
    await this.journal.finish();
    return true;
  }

  /** Octets behind the old end. */
  async #appended(): Promise<number> {
    const { size } = await this.mailbox.stat();
    if (size < this.header.oldSize) throw new Error('mailbox was cut by another program');
    return size - this.header.oldSize;
  }

  /**
   * A new journal, for a mailbox that ends in mail the old one does not know, and is durable up to the new
   * end: only that mail is still to be moved.
   * @returns whether it is moved: then all is done
   */
  async #rebase(): Promise<boolean> {
    const stat = await this.mailbox.stat();
    const { newSize: from, oldSize } = this.header;
    const kept = [{ start: oldSize, end: stat.size }];
    const plan = { mailboxFd: this.mailbox.fd, stat, from, oldSize: stat.size, kept };
    try {
      this.header = await this.journal.replace(plan, async nonce => {
        await this.locks.mustBeIntact();
        this.locks.updating(nonce);
      });
      return false;
    } catch (error) {
      if (!isNoRoom(error)) throw error;
      await this.moveAppended({ stat, from, kept }, error);
      return true;
    }
  }

  /**
   * Writes the redo octets and, before the cut, the marker: never past the old end, the file does not grow.
   * Each sector is written by one call, the marker with the end of the redo: a sector that two calls
   * wrote, seen between them, would be neither the old one nor the new one to recovery.
   */
  async #write(marker: Uint8Array): Promise<void> {
    const { from, newSize } = this.header;
    const redo = { fd: this.journal.fd, start: REDO_AT, end: REDO_AT + newSize - from };
    // Cut where the mailbox has the ends of its sectors.
    for await (const { start, octets } of alignedChunks(this.io, redo, from - REDO_AT)) {
      const at = start + from - REDO_AT;
      const isLast = at + octets.length === newSize;
      const written = isLast ? Buffer.concat([octets, marker]) : octets;
      // This process may have been stopped since the last look, and the lock been broken.
      await this.locks.mustBeIntact();
      this.#begun = true;
      await writeFully(this.io, this.mailbox.fd, written, at);
    }
  }

  /**
   * fsync(2), whose failure is never believed to be over when it is asked again: the octets that failed
   * are marked clean by then. So everything is written again from the journal, after checking that.
   */
  async #syncMailbox(marker: Uint8Array): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.io.sync(this.mailbox.fd);
        return;
      } catch (cause) {
        if (attempt > SYNC_TRIES) throw new DiskFailure(cause);
        const state = await this.journal.read();
        if (state.is !== 'committed') throw new DiskFailure(cause);
        await this.#write(marker);
      }
    }
  }
}

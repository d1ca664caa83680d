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
 * (`rebase`), so that it is moved with the rest and cannot be cut off.
 */
import { Unavailable } from '../errors.js';
import { type SpoolIo, writeFully } from './io.js';
import type { Journal } from './journal.js';
import { type JournalHeader, markerOf, redoAt } from './journal-format.js';
import type { MailboxFile } from './mailbox-file.js';
import { octetsOf, type Piece } from './ranges.js';

/** Times the mailbox is written again when fsync(2) fails, before we give up on the disk. */
const SYNC_TRIES = 3;

/** The disk does not take what it was given: the journal is kept, and this process should end. */
export class DiskFailure extends Unavailable {
  constructor(cause: unknown) {
    super('SYS/TEMP', 'some deleted messages not removed', { cause, fatal: true });
  }
}

/** Throws when the mailbox locks are not ours any more. */
export type Guard = () => Promise<void>;

export class Redo {
  private readonly io: SpoolIo;

  /** @param guard asked before the mailbox is written and before it is cut; the journal stays if it throws */
  constructor(
    private readonly mailbox: MailboxFile,
    private readonly journal: Journal,
    private header: JournalHeader,
    private readonly guard: Guard,
  ) {
    this.io = mailbox.io;
  }

  /** From phase 1 to the end. */
  async run(): Promise<void> {
    for (;;) {
      if ((await this.#appended()) > 0) await this.#rebase(this.header.from, [this.#redo()]);
      await this.guard();
      await this.#write();
      await this.#syncMailbox();
      await this.journal.beginCut(this.header);
      if (await this.finishCut()) return;
    }
  }

  /**
   * From phase 2 on, the marker being where the cut will be.
   * @returns false when mail was appended behind the old end: then there is a new journal in phase 1
   */
  async finishCut(): Promise<boolean> {
    await this.guard();
    if ((await this.#appended()) > 0) {
      await this.#rebase(this.header.newSize, []);
      return false;
    }
    await this.io.truncate(this.mailbox.fd, this.header.newSize);
    await this.#syncMailbox();
    await this.journal.finish();
    return true;
  }

  /** Octets behind the old end. */
  async #appended(): Promise<number> {
    const { size } = await this.mailbox.stat();
    if (size < this.header.oldSize) throw new Error('mailbox was cut by another program');
    return size - this.header.oldSize;
  }

  /** Where the journal has what follows `from`. */
  #redo(): Piece {
    const start = redoAt(this.header);
    return { fd: this.journal.fd, start, end: start + this.header.newSize - this.header.from };
  }

  /** A new journal, for a mailbox that ends in mail the old one does not know. */
  async #rebase(from: number, before: readonly Piece[]): Promise<void> {
    const stat = await this.mailbox.stat();
    const { fd } = this.mailbox;
    const redo = [...before, { fd, start: this.header.oldSize, end: stat.size }];
    this.header = await this.journal.replace({ mailboxFd: fd, stat, from, oldSize: stat.size, redo });
  }

  /** Writes the redo octets and, before the cut, the marker: never past the old end, the file does not grow. */
  async #write(): Promise<void> {
    const { io, header, mailbox } = this;
    const { size } = await mailbox.stat();
    let at = header.from;
    for await (const octets of octetsOf(io, [this.#redo()])) {
      await writeFully(io, mailbox.fd, octets, at);
      at += octets.length;
    }
    if (size >= header.oldSize) await writeFully(io, mailbox.fd, markerOf(header), header.newSize);
  }

  /**
   * fsync(2), whose failure is never believed to be over when it is asked again: the octets that failed
   * are marked clean by then. So everything is written again from the journal, after checking that.
   */
  async #syncMailbox(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.io.sync(this.mailbox.fd);
        return;
      } catch (cause) {
        if (attempt > SYNC_TRIES) throw new DiskFailure(cause);
        const state = await this.journal.read();
        if (state.is !== 'committed') throw new DiskFailure(cause);
        await this.#write();
      }
    }
  }
}

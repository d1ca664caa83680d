/**
 * The journal file of one user, `STATE/USER/journal`: writing it so that it is on the disk before the
 * mailbox file is touched, and reading it back without believing it. It is truncated, not unlinked, when
 * done, so that only the first UPDATE of a mailbox pays for making a file.
 *
 * Invariant: a journal is either whole (every part agrees with its checksum) or it is no journal. It names
 * no path: the mailbox is found by the user's name, so a forged one can harm only its owner.
 */
import { constants } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../errors.js';
import {
  lookAt,
  type MaybeLater,
  readFully,
  type SpoolIo,
  syncDirectory,
  whenThere,
  writeFully,
} from './io.js';
import {
  exists,
  isNamed,
  type JournalPlace,
  makeDirectory,
  openJournalFile,
  renameAside,
  secureFile,
  whyForeign,
} from './journal-file.js';
import { encodePhase, type JournalHeader, PHASE_AT, SECTOR } from './journal-format.js';
import { type JournalPlan, type JournalState, readRecord, writeRecord } from './journal-record.js';

/** Throws when what was read must not be committed. @param nonce of the journal that would be */
export type Verify = (nonce: Uint8Array) => Promise<void>;

/** What the file holds from its making until its name is durable. */
const UNREADY = Buffer.alloc(SECTOR, 'mbox-pop3d: this journal is being made\n');

const NEW = constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;

export class Journal {
  readonly #path: string;
  #fd: number | undefined;
  #dirIsMade = false;

  constructor(private readonly place: JournalPlace) {
    this.#path = `${place.dir}/journal`;
  }

  get path(): string {
    return this.#path;
  }

  /** The descriptor, for reading redo octets. */
  get fd(): number {
    if (this.#fd === undefined) throw new Error('the journal is not open');
    return this.#fd;
  }

  async close(): Promise<void> {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) await this.place.io.close(fd);
  }

  /** Whether there is none, or one of ours with nothing in it, as a look from outside tells. @param seen as for `read` */
  isIdle(seen: boolean): MaybeLater<boolean> {
    const { io, owner } = this.place;
    return whenThere(
      lookAt(io, this.#path, seen),
      stat => stat === undefined || (stat.size === 0 && whyForeign(stat, owner) === undefined),
    );
  }

  /**
   * Opens what is there and says what it is, having read and checked all of it.
   * @param seen as for `openJournalFile`
   */
  async read(seen = false): Promise<JournalState> {
    const { io } = this.place;
    let size: number;
    if (this.#fd === undefined) {
      const opened = await openJournalFile(this.place, this.#path, seen);
      if ('missing' in opened) return { is: 'none' };
      if ('foreign' in opened) return { is: 'foreign', reason: opened.foreign };
      this.#fd = opened.fd;
      size = opened.size;
    } else size = (await io.fstat(this.fd)).size;
    if (size === 0) {
      await this.close(); // For the length of a session nobody needs it.
      return { is: 'none' };
    }
    if (await this.#isUnready(size)) return { is: 'unready' };
    return readRecord(io, this.fd, size);
  }

  /**
   * Makes an empty journal, durably, so that an UPDATE has to write no more than its plan. Does nothing when
   * there is one. A crash leaves none, or one that says that it is not ready: an empty one is one whose
   * name is durable, which is what an UPDATE rests on.
   */
  async prepare(): Promise<void> {
    if (await this.#openExisting()) return;
    await this.#makeDirectory();
    const { io } = this.place;
    const temporary = `${this.#path}.new`;
    const fd = await io.open(temporary, NEW, 0o600);
    let placed = false;
    try {
      await writeFully(io, fd, UNREADY, 0);
      await io.sync(fd);
      await io.rename(temporary, this.#path);
      placed = true;
      this.#fd = fd;
      await this.complete();
    } catch (error) {
      this.#fd = undefined;
      await io.close(fd);
      await this.#drop(error, () => io.unlink(placed ? this.#path : temporary));
      throw error;
    }
  }

  /** Goes on where `prepare` was cut off, which left a journal that is `unready`. */
  async complete(): Promise<void> {
    await this.#makeDirectory();
    await syncDirectory(this.place.io, this.place.dir);
    await this.place.io.truncate(this.fd, 0);
  }

  /**
   * Commits a plan: when this returns, it is on the disk, and will be carried out whatever happens.
   * When it throws, the mailbox file is as it was and, unless the disk refuses even that, there is no
   * journal; if there is, recovery may carry the plan out after all, as a whole.
   * @param verify asked when the record is complete, from a mailbox that took a while to read, and not yet
   *   committed: throws when the mailbox is not what the plan was made for
   */
  async commit(plan: JournalPlan, verify: Verify): Promise<JournalHeader> {
    if (!(await this.#openExisting())) return this.#create(plan, verify);
    try {
      const header = await writeRecord(this.place.io, this.fd, plan);
      await verify(header.nonce);
      await this.place.io.sync(this.fd);
      return header;
    } catch (error) {
      await this.#drop(error, async () => {
        await this.place.io.truncate(this.fd, 0);
        await this.place.io.sync(this.fd);
      });
      throw error;
    }
  }

  /**
   * Replaces a committed journal by another, atomically: a crash leaves the old or the new one, each
   * of which leads to the same mailbox.
   */
  async replace(plan: JournalPlan, verify: Verify): Promise<JournalHeader> {
    const { io, dir } = this.place;
    const temporary = `${this.#path}.new`;
    const fd = await io.open(temporary, NEW, 0o600);
    let header: JournalHeader;
    let placed = false;
    try {
      header = await writeRecord(io, fd, plan);
      await verify(header.nonce);
      await io.sync(fd);
      await io.rename(temporary, this.#path);
      placed = true;
      await syncDirectory(io, dir);
    } catch (error) {
      await io.close(fd);
      if (!placed) await this.#drop(error, () => io.unlink(temporary));
      throw error;
    }
    const former = this.#fd;
    this.#fd = fd;
    if (former !== undefined) await io.close(former);
    return header;
  }

  /** Makes durable what `read` found. */
  secure(): Promise<void> {
    return secureFile(this.place, this.fd);
  }

  /** Records, durably, that the redo octets are on the disk and the mailbox may be cut. */
  async beginCut(header: JournalHeader): Promise<void> {
    const phase = encodePhase(header.nonce);
    await writeFully(this.place.io, this.fd, phase, PHASE_AT);
    try {
      await this.place.io.sync(this.fd);
    } catch {
      // The state of the sector is unknown now (fsync(2)): written again, and believed once more only.
      await writeFully(this.place.io, this.fd, phase, PHASE_AT);
      await this.place.io.sync(this.fd);
    }
  }

  /**
   * Takes a committed plan back, of which nothing has been done: it must not be done later, to a mailbox
   * that others have changed meanwhile.
   * @throws AggregateError when the disk refuses that: recovery may carry the plan out after all
   */
  async withdraw(cause: unknown): Promise<void> {
    await this.#drop(cause, async () => {
      await this.finish();
      await this.place.io.sync(this.fd);
    });
  }

  /** The plan is carried out. Not synced: a journal that comes back finds no marker and does nothing. */
  async finish(): Promise<void> {
    await this.place.io.truncate(this.fd, 0);
  }

  /** Drops, durably, a journal that has nothing left to say: what it would still do is in a plan. */
  async abandon(): Promise<void> {
    if (!(await this.#openExisting())) return;
    await this.finish();
    await this.place.io.sync(this.fd);
  }

  /** Keeps the file under another name, for a human. @returns its path */
  async setAside(why: string): Promise<string> {
    await this.close();
    return renameAside(this.place, this.#path, why);
  }

  /** @returns false when there is none */
  async #openExisting(): Promise<boolean> {
    // An empty one that is open may have been removed meanwhile, and what has no name is lost.
    if (this.#fd !== undefined && !(await isNamed(this.place.io, this.#path, this.#fd))) await this.close();
    if (this.#fd === undefined) {
      const opened = await openJournalFile(this.place, this.#path);
      if ('missing' in opened) return false;
      if ('foreign' in opened) throw new Error(`${this.#path} is not ours: ${opened.foreign}`);
      this.#fd = opened.fd;
    }
    const { size } = await this.place.io.fstat(this.fd);
    if (await this.#isUnready(size)) await this.complete();
    return true;
  }

  async #isUnready(size: number): Promise<boolean> {
    if (size !== SECTOR) return false;
    const octets = Buffer.alloc(SECTOR);
    await readFully(this.place.io, this.fd, octets, 0);
    return octets.equals(UNREADY);
  }

  async #makeDirectory(): Promise<void> {
    if (!this.#dirIsMade) await makeDirectory(this.place);
    this.#dirIsMade = true;
  }

  /** The first journal of a mailbox for which none could be prepared. It gets its name whole. */
  async #create(plan: JournalPlan, verify: Verify): Promise<JournalHeader> {
    const { io, dir } = this.place;
    await this.#makeDirectory();
    try {
      return await this.replace(plan, verify);
    } catch (error) {
      await this.#drop(error, async () => {
        if (!(await exists(io, this.#path))) return;
        await io.unlink(this.#path);
        await syncDirectory(io, dir);
      });
      throw error;
    }
  }

  /** Undoes an uncommitted journal. @throws AggregateError when the disk refuses that, too */
  async #drop(cause: unknown, undo: () => Promise<void>): Promise<void> {
    try {
      await undo();
    } catch (error) {
      throw new AggregateError([cause, error], 'the journal could be neither written nor dropped');
    }
  }
}

/** Whether a directory has a journal with anything in it. */
export async function holdsJournal(io: SpoolIo, dir: string): Promise<boolean> {
  try {
    return (await io.lstat(join(dir, 'journal'))).size > 0;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

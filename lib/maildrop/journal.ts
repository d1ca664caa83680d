/**
 * The journal file of one user, `STATE/USER/journal`: writing it so that it is on the disk before the
 * mailbox file is touched, and reading it back without believing it. It is truncated, not unlinked, when
 * done, so that only the first UPDATE of a mailbox pays for making a file.
 *
 * Invariant: a journal is either whole (every part agrees with its SHA-256) or it is no journal. It names
 * no path: the mailbox is found by the user's name, so a forged one can harm only its owner.
 */
import { constants } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf } from '../errors.js';
import { type FileStat, type SpoolIo, syncDirectory, writeFully } from './io.js';
import { encodePhase, type JournalHeader, PHASE_AT } from './journal-format.js';
import { type JournalPlan, type JournalState, readRecord, writeRecord } from './journal-record.js';
import { octetsOf } from './ranges.js';

/** Throws when what was read must not be committed. */
export type Verify = () => Promise<void>;

export class Journal {
  readonly #path: string;
  #fd: number | undefined;

  constructor(
    private readonly io: SpoolIo,
    /** `STATE/USER`; made when first needed. */
    private readonly dir: string,
    /** Who may own the file besides ourselves. */
    private readonly owner: number,
    /** Whether root has made `dir` and its name durable: then its parent is none of our business. */
    private readonly dirIsGiven = false,
  ) {
    this.#path = join(dir, 'journal');
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
    if (fd !== undefined) await this.io.close(fd);
  }

  /** Opens what is there and says what it is, having read and checked all of it. */
  async read(): Promise<JournalState> {
    const { io } = this;
    if (this.#fd === undefined) {
      const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      try {
        this.#fd = await io.open(this.#path, flags);
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return { is: 'none' };
        if (errnoOf(error) === 'ELOOP') return { is: 'foreign', reason: 'it is a symbolic link' };
        throw error;
      }
    }
    const stat = await io.fstat(this.fd);
    const reason = this.#whyForeign(stat);
    if (reason !== undefined) {
      // Closed, so that nothing is ever written to it either.
      await this.close();
      return { is: 'foreign', reason };
    }
    if (stat.size === 0) return { is: 'none' };
    return readRecord(io, this.fd, stat.size);
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
      const header = await writeRecord(this.io, this.fd, plan);
      await verify();
      await this.io.sync(this.fd);
      return header;
    } catch (error) {
      await this.#drop(error, async () => {
        await this.io.truncate(this.fd, 0);
        await this.io.sync(this.fd);
      });
      throw error;
    }
  }

  /**
   * Replaces a committed journal by another, atomically: a crash leaves the old or the new one, each
   * of which leads to the same mailbox.
   */
  async replace(plan: JournalPlan, verify: Verify): Promise<JournalHeader> {
    const { io } = this;
    const temporary = `${this.#path}.new`;
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    const fd = await io.open(temporary, flags, 0o600);
    let header: JournalHeader;
    let placed = false;
    try {
      header = await writeRecord(io, fd, plan);
      await verify();
      await io.sync(fd);
      await io.rename(temporary, this.#path);
      placed = true;
      await syncDirectory(io, this.dir);
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

  /**
   * Makes durable what `read` found. Whoever wrote it may have been killed before its fsync(2), or because
   * that failed: then what we read is in memory only, and marked as if it were not, so that another
   * fsync(2) alone would prove nothing. Each octet is written over itself, which no crash can tear.
   */
  async secure(): Promise<void> {
    const { size } = await this.io.fstat(this.fd);
    let at = 0;
    for await (const octets of octetsOf(this.io, [{ fd: this.fd, start: 0, end: size }])) {
      await writeFully(this.io, this.fd, octets, at);
      at += octets.length;
    }
    await this.io.sync(this.fd);
    await syncDirectory(this.io, this.dir);
  }

  /** Records, durably, that the redo octets are on the disk and the mailbox may be cut. */
  async beginCut(header: JournalHeader): Promise<void> {
    const phase = encodePhase(header.nonce);
    await writeFully(this.io, this.fd, phase, PHASE_AT);
    try {
      await this.io.sync(this.fd);
    } catch {
      // The state of the sector is unknown now (fsync(2)): written again, and believed once more only.
      await writeFully(this.io, this.fd, phase, PHASE_AT);
      await this.io.sync(this.fd);
    }
  }

  /** The plan is carried out. Not synced: a journal that comes back finds no marker and does nothing. */
  async finish(): Promise<void> {
    await this.io.truncate(this.fd, 0);
  }

  /** Keeps the file under another name, for a human. @returns its path */
  async setAside(why: string): Promise<string> {
    await this.close();
    for (let n = 1; ; n++) {
      const aside = `${this.#path}.${why}${n === 1 ? '' : `.${n}`}`;
      if (await exists(this.io, aside)) continue;
      await this.io.rename(this.#path, aside);
      await syncDirectory(this.io, this.dir);
      return aside;
    }
  }

  /** @returns false when there is none */
  async #openExisting(): Promise<boolean> {
    const { io } = this;
    if (this.#fd !== undefined) {
      // Open since login: an empty one may have been removed meanwhile, and what has no name is lost.
      const named = await io.lstat(this.#path).catch(error => {
        if (errnoOf(error) === 'ENOENT') return undefined;
        throw error;
      });
      const ours = await io.fstat(this.#fd);
      if (named?.dev === ours.dev && named.ino === ours.ino) return true;
      await this.close();
    }
    const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    try {
      this.#fd = await io.open(this.#path, flags);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      return false;
    }
    const reason = this.#whyForeign(await io.fstat(this.#fd));
    if (reason !== undefined) throw new Error(`${this.#path} is not ours: ${reason}`);
    return true;
  }

  /**
   * The first journal of a mailbox. It gets its name whole, so that an empty journal is one that was
   * finished, whose name is durable: one made and left by a crash would pass for it.
   */
  async #create(plan: JournalPlan, verify: Verify): Promise<JournalHeader> {
    const { io } = this;
    if (!this.dirIsGiven) {
      await makeDirectory(io, this.dir);
      // Also if it was there: whoever made it may have been killed before this.
      await syncDirectory(io, dirname(this.dir));
    }
    try {
      return await this.replace(plan, verify);
    } catch (error) {
      await this.#drop(error, async () => {
        if (!(await exists(io, this.#path))) return;
        await io.unlink(this.#path);
        await syncDirectory(io, this.dir);
      });
      throw error;
    }
  }

  #whyForeign(stat: FileStat): string | undefined {
    if (stat.kind !== 'file') return 'it is not a regular file';
    if (stat.nlink !== 1) return `it has ${stat.nlink} links`;
    if (stat.uid !== this.owner && stat.uid !== process.geteuid?.()) return `it is owned by uid ${stat.uid}`;
    if ((stat.mode & 0o022) !== 0) return 'others may write it';
    return undefined;
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

async function exists(io: SpoolIo, path: string): Promise<boolean> {
  try {
    await io.lstat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** mkdir(2) of one directory, unless it is there. */
async function makeDirectory(io: SpoolIo, path: string): Promise<void> {
  if (!(await exists(io, path))) await io.mkdir(path, 0o700);
}

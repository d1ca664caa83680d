/**
 * The journal file of one user, `STATE/USER/journal`: writing it so that it is on the disk before the
 * mailbox file is touched, and reading it back without believing it. It is truncated, not unlinked, when
 * done, so that only the first UPDATE of a mailbox pays for making a file.
 *
 * Invariant: a journal is either whole (every part agrees with its SHA-256) or it is no journal. It names
 * no path: the mailbox is found by the user's name, so a forged one can harm only its owner.
 */
import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf } from '../errors.js';
import { type FileStat, readFully, type SpoolIo, syncDirectory, writeFully } from './io.js';
import {
  AROUND_AT,
  aroundRange,
  decodeHeader,
  encodeHeader,
  encodePhase,
  HEADER_AT,
  isPhaseRecord,
  type JournalHeader,
  NONCE,
  PHASE_AT,
  redoAt,
  SECTOR,
  SECTOR_HASH,
  sectorCount,
  sectorHash,
  TABLE_AT,
} from './journal-format.js';
import { lengthOf, MOVE_CHUNK, octetsOf, type Piece } from './ranges.js';

/** What a new journal is made from. */
export interface JournalPlan {
  readonly mailboxFd: number;
  readonly stat: Pick<FileStat, 'ino' | 'uid'>;
  /** Offset of the first octet that changes. */
  readonly from: number;
  /** Octets of the mailbox file now. */
  readonly oldSize: number;
  /** What follows `from` afterwards. */
  readonly redo: readonly Piece[];
}

export type JournalState =
  | { readonly is: 'none' }
  | { readonly is: 'torn' | 'newer' | 'foreign'; readonly reason: string }
  | { readonly is: 'committed'; readonly header: JournalHeader; readonly phase: 1 | 2 };

export class Journal {
  readonly #path: string;
  #fd: number | undefined;

  constructor(
    private readonly io: SpoolIo,
    /** `STATE/USER`; made when first needed. */
    private readonly dir: string,
    /** Who may own the file besides ourselves. */
    private readonly owner: number,
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
    if (reason !== undefined) return { is: 'foreign', reason };
    if (stat.size === 0) return { is: 'none' };
    return this.#decode(stat.size);
  }

  /**
   * Commits a plan: when this returns, it is on the disk, and will be carried out whatever happens.
   * When it throws, the mailbox file is as it was and, unless the disk refuses even that, there is no
   * journal; if there is, recovery may carry the plan out after all, as a whole.
   */
  async commit(plan: JournalPlan): Promise<JournalHeader> {
    const created = await this.#openForWriting();
    try {
      const header = await this.#writeRecord(this.fd, plan);
      await this.io.sync(this.fd);
      if (created) await syncDirectory(this.io, this.dir);
      return header;
    } catch (error) {
      await this.#drop(error);
      throw error;
    }
  }

  /**
   * Replaces a committed journal by another, atomically: a crash leaves the old or the new one, each
   * of which leads to the same mailbox.
   */
  async replace(plan: JournalPlan): Promise<JournalHeader> {
    const { io } = this;
    const temporary = `${this.#path}.new`;
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    const fd = await io.open(temporary, flags, 0o600);
    let header: JournalHeader;
    try {
      header = await this.#writeRecord(fd, plan);
      await io.sync(fd);
      await io.rename(temporary, this.#path);
      await syncDirectory(io, this.dir);
    } catch (error) {
      await io.close(fd);
      throw error;
    }
    await this.close();
    this.#fd = fd;
    return header;
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
      const taken = await this.io.lstat(aside).catch(error => {
        if (errnoOf(error) === 'ENOENT') return undefined;
        throw error;
      });
      if (taken !== undefined) continue;
      await this.io.rename(this.#path, aside);
      await syncDirectory(this.io, this.dir);
      return aside;
    }
  }

  /** @returns whether the file is new, so that its name must be made durable too */
  async #openForWriting(): Promise<boolean> {
    if (this.#fd !== undefined) return false;
    const { io } = this;
    const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    try {
      this.#fd = await io.open(this.#path, flags);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
    if (this.#fd !== undefined) {
      const reason = this.#whyForeign(await io.fstat(this.#fd));
      if (reason !== undefined) throw new Error(`${this.#path} is not ours: ${reason}`);
      return false;
    }
    if (await makeDirectory(io, this.dir)) await syncDirectory(io, dirname(this.dir));
    this.#fd = await io.open(this.#path, flags | constants.O_CREAT | constants.O_EXCL, 0o600);
    return true;
  }

  /** Writes everything but the phase, which is zero, and the header last. */
  async #writeRecord(fd: number, plan: JournalPlan): Promise<JournalHeader> {
    const { io } = this;
    const { from, oldSize } = plan;
    const newSize = from + lengthOf(plan.redo);
    await io.truncate(fd, 0);
    const aroundSha = createHash('sha256');
    const { start, end } = aroundRange({ newSize, oldSize });
    for await (const octets of octetsOf(io, [{ fd: plan.mailboxFd, start, end }])) {
      aroundSha.update(octets);
      await writeFully(io, fd, octets, AROUND_AT);
    }
    const tableSha = await this.#writeTable(fd, plan);
    const redoSha = createHash('sha256');
    let at = redoAt(plan);
    for await (const octets of octetsOf(io, plan.redo)) {
      redoSha.update(octets);
      await writeFully(io, fd, octets, at);
      at += octets.length;
    }
    const header: JournalHeader = {
      ino: plan.stat.ino,
      uid: plan.stat.uid,
      from,
      oldSize,
      newSize,
      nonce: randomBytes(NONCE),
      aroundSha: aroundSha.digest(),
      tableSha,
      redoSha: redoSha.digest(),
    };
    // Written now, so that the phase record later needs no space.
    await writeFully(io, fd, Buffer.alloc(SECTOR), PHASE_AT);
    await writeFully(io, fd, encodeHeader(header), HEADER_AT);
    return header;
  }

  async #writeTable(fd: number, plan: JournalPlan): Promise<Uint8Array> {
    const sha = createHash('sha256');
    let at = TABLE_AT;
    for await (const { octets } of sectorsOf(this.io, plan.mailboxFd, plan.from, plan.oldSize)) {
      const table = Buffer.concat(octets.map(sectorHash));
      sha.update(table);
      await writeFully(this.io, fd, table, at);
      at += table.length;
    }
    return sha.digest();
  }

  async #decode(size: number): Promise<JournalState> {
    const { io } = this;
    const head = Buffer.alloc(2 * SECTOR);
    await readFully(io, this.fd, head, HEADER_AT);
    const header = decodeHeader(head.subarray(0, SECTOR));
    if (header === 'newer') return { is: 'newer', reason: 'it was written by a newer version' };
    if (header === 'torn') return { is: 'torn', reason: 'its header was never completed' };
    const redo = redoAt(header);
    const around = aroundRange(header);
    const parts: [string, Uint8Array, number, number][] = [
      ['the octets around the marker', header.aroundSha, AROUND_AT, around.end - around.start],
      ['the table', header.tableSha, TABLE_AT, sectorCount(header) * SECTOR_HASH],
      ['the redo', header.redoSha, redo, header.newSize - header.from],
    ];
    for (const [what, sha, start, length] of parts) {
      if (length < 0 || start + length > size || !(await this.#agrees(sha, start, start + length))) {
        return { is: 'torn', reason: `${what} is incomplete` };
      }
    }
    const phase = isPhaseRecord(head.subarray(SECTOR), header.nonce) ? 2 : 1;
    return { is: 'committed', header, phase };
  }

  async #agrees(sha: Uint8Array, start: number, end: number): Promise<boolean> {
    const hash = createHash('sha256');
    for await (const octets of octetsOf(this.io, [{ fd: this.fd, start, end }])) hash.update(octets);
    return hash.digest().equals(sha);
  }

  #whyForeign(stat: FileStat): string | undefined {
    if (stat.kind !== 'file') return 'it is not a regular file';
    if (stat.nlink !== 1) return `it has ${stat.nlink} links`;
    if (stat.uid !== this.owner && stat.uid !== process.geteuid?.()) return `it is owned by uid ${stat.uid}`;
    if ((stat.mode & 0o077) !== 0) return 'others may read or write it';
    return undefined;
  }

  /** Undoes an uncommitted journal. */
  async #drop(cause: unknown): Promise<void> {
    try {
      await this.io.truncate(this.fd, 0);
      await this.io.sync(this.fd);
    } catch (error) {
      throw new AggregateError([cause, error], 'the journal could be neither written nor dropped');
    }
  }
}

/** mkdir(2) of one directory. @returns whether it was made */
async function makeDirectory(io: SpoolIo, path: string): Promise<boolean> {
  const there = await io.lstat(path).catch(error => {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (there !== undefined) return false;
  await io.mkdir(path, 0o700);
  return true;
}

/** Sectors of a mailbox file, as far as they lie in [from, to), in runs: each call of a run is one read. */
export async function* sectorsOf(
  io: SpoolIo,
  fd: number,
  from: number,
  to: number,
): AsyncGenerator<{ start: number; octets: Uint8Array[] }> {
  const buffer = Buffer.allocUnsafe(MOVE_CHUNK);
  for (let start = from; start < to; ) {
    const end = Math.min(to, (Math.floor(start / MOVE_CHUNK) + 1) * MOVE_CHUNK);
    const chunk = buffer.subarray(0, end - start);
    if ((await readFully(io, fd, chunk, start)) < chunk.length) {
      throw new Error('mailbox became shorter while it was read');
    }
    const octets: Uint8Array[] = [];
    for (let at = start; at < end; ) {
      const stop = Math.min(end, (Math.floor(at / SECTOR) + 1) * SECTOR);
      octets.push(chunk.subarray(at - start, stop - start));
      at = stop;
    }
    yield { start, octets };
    start = end;
  }
}

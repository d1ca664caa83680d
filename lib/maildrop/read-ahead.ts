/**
 * Reading ahead in a mailbox file: clients take messages in order, so one read serves many of them, and
 * while they leave, the next read is under way.
 *
 * Invariants: at most two pieces of the file are held, and none by a session that has not asked for a while;
 * memory is given back only when no read into it is under way. What is here may be out of date: whether it
 * may be sent is for `checked-octets.ts` to say.
 */
import { BLOCK, type Blocks } from './blocks.js';
import type { MailboxFile } from './mailbox-file.js';
import { READ_CHUNK } from './snapshot.js';

/** Octets of the file from `start` on, as soon as they have arrived. */
class Piece {
  /** The offset up to which it is being read. */
  readonly end: number;
  /** Resolves when the read is over, whatever came of it. */
  readonly arrived: Promise<void>;
  failure: unknown;
  readonly #block: Buffer | undefined;
  readonly #place: Buffer | undefined;
  #octets: Buffer | undefined;

  /** @param limit reads at most up to here */
  constructor(
    file: MailboxFile,
    private readonly blocks: Blocks,
    readonly start: number,
    limit: number,
  ) {
    const length = Math.min(limit - start, BLOCK);
    this.#block = length > READ_CHUNK ? blocks.take() : undefined;
    if (this.#block === undefined) this.#place = blocks.takePlace(Math.min(length, READ_CHUNK));
    const memory = (this.#block ?? this.#place)!.subarray(0, length);
    this.end = start + memory.length;
    this.arrived = this.#read(file, memory);
  }

  async #read(file: MailboxFile, into: Buffer): Promise<void> {
    try {
      this.#octets = into.subarray(0, await file.readInto(into, this.start));
    } catch (error) {
      this.failure = error;
    }
  }

  /** Octets from `position` on, up to `end` at most; undefined when there is not one. */
  from(position: number, end: number): Buffer | undefined {
    const { start } = this;
    const octets = this.#octets;
    if (octets === undefined || position < start || position >= start + octets.length) return undefined;
    return octets.subarray(position - start, end - start);
  }

  async giveBack(): Promise<void> {
    await this.arrived;
    this.#octets = undefined;
    if (this.#block) this.blocks.giveBack(this.#block);
    if (this.#place) this.blocks.giveBackPlace(this.#place);
  }
}

export class ReadAhead {
  #current: Piece | undefined;
  #next: Piece | undefined;
  #asked = false;
  #closed = false;
  /** Done when nothing is being read any more, and all that was let go is given back. */
  #settled: Promise<void> = Promise.resolve();

  constructor(
    private readonly file: MailboxFile,
    private readonly blocks: Blocks,
  ) {}

  /** What is in memory from `position` on, up to `end`: good until the caller awaits. */
  cached(position: number, end: number): Buffer | undefined {
    this.#asked = true;
    return this.#current?.from(position, end);
  }

  /**
   * Reads, so that something is `cached` from `position` on, unless the file ends there.
   * @param limit how far reading ahead makes sense, at least one octet
   * @throws what reading the file throws
   */
  async fill(position: number, limit: number): Promise<void> {
    this.#asked = true;
    let piece = this.#next;
    this.#next = undefined;
    // Whether the piece read ahead begins here or not: a read that failed, or came short, is made again.
    if (piece) await piece.arrived;
    if (piece?.from(position, position + 1) === undefined) {
      this.#letGo(piece);
      piece = this.#read(position, limit);
    }
    await piece.arrived;
    this.drop();
    if (piece.failure !== undefined || this.#closed) {
      this.#letGo(piece);
      throw piece.failure ?? new Error('the mailbox file was closed meanwhile');
    }
    this.blocks.watch(this);
    this.#current = piece;
    if (piece.end < limit) this.#next = this.#read(piece.end, limit);
  }

  #read(position: number, limit: number): Piece {
    if (this.#closed) throw new Error('the mailbox file is closed');
    const piece = new Piece(this.file, this.blocks, position, limit);
    this.#waitFor(piece.arrived);
    return piece;
  }

  /** Forgets all that was read. */
  drop(): void {
    this.#letGo(this.#current);
    this.#letGo(this.#next);
    this.#current = undefined;
    this.#next = undefined;
    this.blocks.unwatch(this);
  }

  /** The same, for good; afterwards the file may be closed. */
  async close(): Promise<void> {
    this.#closed = true;
    this.drop();
    await this.#settled;
  }

  /** See `Holder`: a session that asked for nothing since the last time loses what it has. */
  tick(): void {
    if (!this.#asked) this.drop();
    this.#asked = false;
  }

  #letGo(piece: Piece | undefined): void {
    if (piece) this.#waitFor(piece.giveBack());
  }

  #waitFor(one: Promise<void>): void {
    const before = this.#settled;
    // Resolves to nothing, so that what is over is not kept in what comes after it.
    this.#settled = before.then(() => one);
  }
}

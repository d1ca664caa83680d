/**
 * The octets of messages as they were indexed, or an error: never those of another message. While the
 * mailbox locks are held, what is read is what was indexed. After they were yielded, the file is looked at
 * again after each read and before its octets go out: unchanged, they are as indexed; only grown, the
 * message must still begin as indexed, and nothing read ahead is used; anything else ends the session.
 */
import { crc32 } from 'node:zlib';
import type { Unavailable } from '../errors.js';
import type { Extent } from '../mbox/mailbox-index.js';
import type { Blocks } from './blocks.js';
import type { FileStat } from './io.js';
import { changeBetween } from './mailbox-file.js';
import { ReadAhead } from './read-ahead.js';
import { hasHeaderOf, READ_CHUNK, type Snapshot } from './snapshot.js';

/** How often to look whether the locks are still ours while octets go out that were read under them, in ms. */
const LOOK_EVERY = 10;

/** What is wanted of a message. */
export interface Wanted {
  /** Offsets in the mailbox file. */
  readonly from: number;
  readonly to: number;
  /** How far from the start of the message it will surely be read; the rest may be. */
  readonly surely: number;
  /** Whether, of a client that goes through its messages in order, more should be read now. */
  readonly ahead: boolean;
}

/** The mailbox file of a session. */
export class CheckedOctets {
  readonly ahead: ReadAhead;
  #yielded = false;
  /** Until when a look at the locks is good enough, on the clock of `performance`. */
  #lookIsGood = 0;
  #last = 0;

  #snapshot: Snapshot;

  /** @param broken makes the error that ends the session */
  constructor(
    snapshot: Snapshot,
    blocks: Blocks,
    readonly broken: (message: string) => Unavailable,
  ) {
    this.#snapshot = snapshot;
    this.ahead = new ReadAhead(snapshot.access.file, blocks);
  }

  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  /** Without the locks, what was read before may be of a state of the file that this snapshot does not know. */
  indexedAgain(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
    if (!this.held) this.ahead.drop();
  }

  /** Whether the locks were held all the time until now: what was read before is as indexed. */
  get held(): boolean {
    if (!this.#yielded && !this.snapshot.access.held) this.#yielded = true;
    this.#lookIsGood = this.#yielded ? 0 : performance.now() + LOOK_EVERY;
    return !this.#yielded;
  }

  /** The same a moment ago: for what was read and found as indexed before. */
  get heldLately(): boolean {
    return performance.now() < this.#lookIsGood || this.held;
  }

  /** Octets of message `n`. One message is read at a time. */
  message(n: number, wanted: Wanted): MessageOctets {
    const inOrder = n === this.#last || n === this.#last + 1;
    this.#last = n;
    const { index } = this.snapshot;
    const limit = inOrder && wanted.ahead ? index.extent(index.messages).contentEnd : wanted.surely;
    return new MessageOctets(this, index.extent(n), wanted, limit);
  }

  /** Whether message `n` begins as its row says, where that can be seen without reading. */
  hasSeenHeaderOf(n: number): boolean {
    const { start, body, headerCrc } = this.snapshot.index.extent(n);
    const header = this.held ? this.ahead.cached(start, body) : undefined;
    return header?.length === body - start && crc32(header) === headerCrc;
  }

  /** The file now, provided that it is as indexed or has only grown. */
  async lookAgain(): Promise<FileStat> {
    const { access, stat } = this.snapshot;
    const now = await access.file.statSince(stat);
    if (changeBetween(stat, now) === 'other') throw this.broken('mailbox was changed by another program');
    return now;
  }

  /** Whether that is as indexed. */
  isUnchanged(now: FileStat): boolean {
    return this.snapshot.settled && changeBetween(this.snapshot.stat, now) === 'same';
  }

  /** Nothing is read any more, and nothing of what was read is held. */
  close(): Promise<void> {
    return this.ahead.close();
  }
}

/** One message, in pieces of any size. */
export class MessageOctets {
  /** What `load` has found good, for the next `view` only. */
  #loaded: Buffer | 'cached' | undefined;
  /** The file at the last look, once it is no longer as indexed. */
  #seen: FileStat | undefined;

  constructor(
    private readonly file: CheckedOctets,
    private readonly extent: Extent,
    private readonly wanted: Wanted,
    private readonly limit: number,
  ) {}

  /**
   * Octets from `position` on, up to `end` at most, that may go out now: good until the caller awaits.
   * @returns undefined when there are none before a `load`
   */
  view(position: number, end: number): Buffer | undefined {
    const loaded = this.#loaded;
    this.#loaded = undefined;
    if (loaded === 'cached') return this.file.ahead.cached(position, end);
    return loaded ?? (this.file.heldLately ? this.file.ahead.cached(position, end) : undefined);
  }

  /** Sees to it that there are some. @throws Unavailable (fatal) when the snapshot is no longer true */
  async load(position: number, end: number): Promise<void> {
    this.#loaded = this.#seen ? await this.#readAgain(position, end) : await this.#readOn(position, end);
  }

  /** As long as nobody else has written to the file. */
  async #readOn(position: number, end: number): Promise<Buffer | 'cached'> {
    const { file, extent } = this;
    if (!file.ahead.cached(position, end)) {
      // From the From_ line on, so that DELE finds here what RETR has read.
      const start = position === this.wanted.from ? extent.start : position;
      await file.ahead.fill(start, Math.max(this.limit, Math.min(end, position + READ_CHUNK)));
      if (!file.ahead.cached(position, end)) throw file.broken('mailbox is shorter than it was');
    }
    // Asked now: the locks may have been yielded while we read.
    if (file.held || file.isUnchanged(await file.lookAgain())) return 'cached';
    file.ahead.drop();
    return this.#readAgain(position, end);
  }

  /** What is being sent is not what was indexed. */
  changed(): Unavailable {
    return this.file.broken('mailbox changed while it was read');
  }

  async #readAgain(position: number, end: number): Promise<Buffer> {
    const { file } = this;
    const { access } = file.snapshot;
    this.#seen ??= await this.#confirm();
    const chunk = await access.file.read(position, Math.min(end, position + READ_CHUNK));
    const now = await access.file.statSince(this.#seen);
    const change = changeBetween(this.#seen, now);
    if (change === 'other') throw this.changed();
    // By an append, unless the message begins otherwise now.
    if (change === 'grown') this.#seen = await this.#confirm();
    if (chunk.length === 0) throw file.broken('mailbox is shorter than it was');
    return chunk;
  }

  /** The file now, in which the message still begins as indexed: a rewrite that ended larger looks like an append. */
  async #confirm(): Promise<FileStat> {
    const now = await this.file.lookAgain();
    if (this.file.isUnchanged(now)) return now;
    if (!(await hasHeaderOf(this.file.snapshot.access.file, this.extent))) {
      throw this.file.broken('mailbox was changed by another program');
    }
    return now;
  }
}

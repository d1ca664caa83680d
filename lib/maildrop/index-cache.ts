/**
 * The index of a mailbox file, kept for the next session in `STATE/USER/index`, so that a large mailbox is not
 * read at each login. It is a cache: without it, or with a wrong one, the whole file is read and the answers are
 * the same. So it is written without fsync(2), nothing about it ever fails a session, and nothing that is
 * deleted rests on it alone (`extent-proof.ts`).
 *
 * Used as it is when device, inode, size, mtime and ctime are those of the file it was made from: no program
 * can choose a ctime. When the file has only grown, and the last message begins as it did, from there on it is
 * read again. Then the rest is what a mail reader may have changed in place since: it is *believed*, which
 * means that each message is looked at before anything is done with it (`snapshot.ts`).
 */
import { constants } from 'node:fs';
import { errnoOf } from '../errors.js';
import type { Log } from '../log.js';
import type { Kernel } from '../mbox/kernel/kernel.js';
import { type MailboxIndex, SMALL } from '../mbox/mailbox-index.js';
import { NotMbox } from '../mbox/scanner.js';
import {
  decodeIndex,
  encodeIndex,
  joinTail,
  type KeptIndex,
  mostOctets,
  moved,
  ROOM,
} from './index-cache-format.js';
import type { IndexMemory } from './index-memory.js';
import { type IndexShelf, isOf } from './index-shelf.js';
import { type FileStat, readFully, type SpoolIo, writeFully } from './io.js';
import { whyForeign } from './journal-file.js';
import type { MailboxFile } from './mailbox-file.js';
import type { Unchanged } from './unchanged.js';

/** Octets that could be scanned in the time one identity takes; measured. */
const IDENTITY_WORTH = 16 * 1024;

export interface IndexCachePlace {
  readonly io: SpoolIo;
  /** `STATE/USER`; made when first needed. */
  readonly dir: string;
  /** Who may own the file besides ourselves. */
  readonly owner: number;
  /** Octets of the smallest mailbox file whose index is kept; Infinity for none. */
  readonly least: number;
  readonly log: Log;
  readonly memory: IndexMemory;
  /** What this process has read or written lately. */
  readonly shelf: IndexShelf;
  /** For smaller mailbox files: what this process remembers of them. */
  readonly small: Unchanged<SmallIndex>;
  /** Undefined for the twins in TypeScript. */
  readonly kernel?: Kernel | undefined;
}

/** All that is known of a small mailbox file. */
export type SmallIndex = Pick<KeptIndex, 'index' | 'identities'>;

/** What a small index takes besides its rows, octets. */
const BESIDES = 1024;

/** What the cache knew of a mailbox file. */
export interface Recalled {
  readonly index: MailboxIndex;
  /** How many messages, from the first on, were not read now. */
  readonly believed: number;
  /** Whether the file is exactly the one that was read then, so that they are known to be true. */
  readonly exact: boolean;
  /** As `KeptIndex.identities`; of no more than the believed ones. */
  readonly identities: Buffer;
  /** Octets that were read now. */
  readonly scanned: number;
}

export class IndexCache {
  readonly #path: string;
  #loading: Promise<KeptIndex | undefined> | undefined;
  /** What was read is in it, and what `recall` returned. */
  #octets: Buffer | undefined;
  #onShelf = false;
  /** What `recall` returned, if it is known to be true. */
  #exact: KeptIndex | undefined;

  constructor(private readonly place: IndexCachePlace) {
    this.#path = `${place.dir}/index`;
  }

  /**
   * Begins to read what is kept, for `recall`, while there is other work, such as to lock the mailbox: it is either
   * of the file that is found then, or of none.
   * @param named the mailbox file as it is now, or why it cannot be looked at
   */
  prefetch(named: Promise<FileStat | undefined>): void {
    this.#loading = named.then(
      file => (file !== undefined && this.takes(file) ? this.#loadUnlessShelved(file) : undefined),
      () => undefined, // Whoever opens it will say why.
    );
  }

  async #loadUnlessShelved(stat: FileStat): Promise<KeptIndex | undefined> {
    const { shelf } = this.place;
    await shelf.settled(this.#path);
    this.#onShelf = shelf.has(this.#path, stat);
    return this.#onShelf ? undefined : this.#loadQuietly(stat.size);
  }

  #takeShelved(stat: FileStat): KeptIndex | undefined {
    const shelved = this.place.shelf.take(this.#path, stat);
    this.#octets = shelved?.octets;
    return shelved?.kept;
  }

  /**
   * The index of the file that looks like `stat`. Never throws for anything but the mailbox file.
   * @returns undefined when it must be scanned
   */
  recall(file: MailboxFile, stat: FileStat): Recalled | undefined | Promise<Recalled | undefined> {
    return this.takes(stat) ? this.#recallKept(file, stat) : this.#recallSmall(file.path, stat);
  }

  async #recallKept(file: MailboxFile, stat: FileStat): Promise<Recalled | undefined> {
    let kept = await (this.#loading ?? this.#loadUnlessShelved(stat));
    // It may be large, and is needed once.
    this.#loading = undefined;
    if (this.#onShelf) kept = this.#takeShelved(stat) ?? (await this.#loadQuietly(stat.size));
    if (kept === undefined || kept.stat.dev !== stat.dev || kept.stat.ino !== stat.ino) return undefined;
    // A clock that was set back may give a later change the same time.
    if (kept.seenAt > Date.now()) return undefined;
    const { index, identities } = kept;
    const same = isOf(kept, stat);
    if (same && kept.proven) {
      this.#exact = kept;
      return { index, believed: index.messages, exact: true, identities, scanned: 0 };
    }
    if (!same && index.size >= stat.size) return undefined;
    return this.#readTail(file, stat.size, kept);
  }

  #recallSmall(path: string, stat: FileStat): Recalled | undefined {
    const known = this.place.small.recall(path, stat);
    if (known === undefined) return undefined;
    const { index, identities } = known;
    return { index, identities, believed: index.messages, exact: true, scanned: 0 };
  }

  /** Remembers the index of a file that is too small to be kept, for sessions of this process. */
  remember(path: string, stat: FileStat, seenAt: number, { index, identities }: SmallIndex): void {
    if (this.place.least === Number.POSITIVE_INFINITY) return;
    // Not in a pool of Node.js, of which it would keep all.
    const own = Buffer.allocUnsafeSlow(identities.length);
    own.set(identities);
    const octets = BESIDES + index.offsets.byteLength + index.small.byteLength + own.length;
    this.place.small.remember(path, stat, seenAt, { index, identities: own }, octets);
  }

  /** Whether the index of so large a file is kept at all. */
  takes({ size }: { readonly size: number }): boolean {
    return size >= this.place.least;
  }

  /**
   * Whether it pays to keep an index.
   * @param scanned octets that were read for it
   * @param identities how many had to be computed
   */
  isWorth(index: MailboxIndex, scanned: number, identities: number): boolean {
    const cost = Math.max(this.place.least, index.small.byteLength + index.offsets.byteLength);
    return this.takes(index) && scanned + identities * IDENTITY_WORTH >= cost;
  }

  /** Leaves what `recall` returned to the next session of this process, if that is known to be true. */
  shelve(): void {
    if (this.#exact === undefined || this.#octets === undefined) return;
    this.place.shelf.put(this.#path, moved(this.#exact, this.#octets));
    this.#octets = undefined;
  }

  /** Replaces what is kept, for the next session. Never throws: that it fails costs time only. */
  keep(kept: KeptIndex): Promise<void> {
    return this.place.shelf.during(this.#path, () => this.#write(kept));
  }

  async #write(kept: KeptIndex): Promise<void> {
    const { io, dir, memory, shelf } = this.place;
    const temporary = `${this.#path}.new`;
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC;
    try {
      await io.mkdir(dir, 0o700);
      // Not even here a FIFO is waited for, nor a link followed: in some modes the directory is the user's.
      const fd = await io.open(temporary, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o600);
      try {
        const octets = encodeIndex(kept, size => memory.take(size));
        await writeFully(io, fd, octets, 0).finally(() => {
          // That it did not get into the file makes it no less true.
          if (kept.proven) shelf.put(this.#path, moved(kept, octets));
          else memory.giveBack(octets);
        });
      } finally {
        await io.close(fd);
      }
      await io.rename(temporary, this.#path);
    } catch (error) {
      this.#note('index-not-kept', error);
      await this.#unlink(temporary);
    }
  }

  /** The session is over: whatever `recall` returned is empty from now on, or from when it would have come. */
  close(): void {
    const giveBack = () => {
      if (this.#octets !== undefined) this.place.memory.giveBack(this.#octets);
      this.#octets = undefined;
    };
    // Nobody is left to wait for a disk, which writes into that memory until then.
    if (this.#loading === undefined) giveBack();
    else void this.#loading.then(giveBack);
  }

  /** What is remembered was found to be wrong. */
  forget(path: string): void {
    this.place.small.forget(path);
    this.place.shelf.drop(this.#path);
  }

  /** Removes what is kept: it was found to be wrong. */
  drop(): Promise<void> {
    return this.#unlink(this.#path);
  }

  async #unlink(path: string): Promise<void> {
    try {
      await this.place.io.unlink(path);
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) this.#note('index-not-removed', error);
    }
  }

  #note(event: string, error: unknown): undefined {
    this.place.log.write('debug', '-', event, { dir: this.place.dir, reason: String(error) });
    return undefined;
  }

  #loadQuietly(mailboxSize: number): Promise<KeptIndex | undefined> {
    return this.#load(mailboxSize).catch(error => this.#note('index-not-read', error));
  }

  async #load(mailboxSize: number): Promise<KeptIndex | undefined> {
    const { io, owner, memory, kernel } = this.place;
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const fd = await io.open(this.#path, flags).catch(error => {
      if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined;
      throw error;
    });
    if (fd === undefined) return undefined;
    try {
      const stat = await io.fstat(fd);
      const foreign = whyForeign(stat, owner);
      if (foreign !== undefined) throw new Error(foreign);
      if (stat.size > mostOctets(mailboxSize)) throw new Error('it is too large for the mailbox');
      this.#octets = memory.take(stat.size + ROOM);
      const octets = this.#octets.subarray(0, stat.size);
      const count = await readFully(io, fd, octets, 0);
      // What is behind them is ours, too.
      const room = octets.buffer.byteLength - stat.size;
      const kept = count === octets.length ? decodeIndex(octets, kernel, room) : undefined;
      if (kept === undefined) throw new Error('it is torn, or of another version');
      return kept;
    } finally {
      await io.close(fd);
    }
  }

  /** The rows before the last, and what stands in the file from there on. */
  async #readTail(file: MailboxFile, size: number, kept: KeptIndex): Promise<Recalled | undefined> {
    const { hidden, messages: last, small } = kept.index;
    const row = small.length / SMALL - 1;
    if (row < 1 || last < 1) return undefined;
    const was = kept.index.extent(last);
    if (!(await mayBegin(file, was.start))) return undefined;
    const tail = await scanFrom(file, was.start, size);
    if (tail === undefined) return undefined;
    const { index, identities } = joinTail(kept, row, tail, was.start);
    const is = index.extent(last);
    const begins = is.header === was.header && is.body === was.body && is.headerCrc === was.headerCrc;
    // It may have grown itself, if it had no end. That it now ends earlier means that it was rewritten.
    if (!begins || is.contentEnd < was.contentEnd) return undefined;
    return { index, believed: row - hidden, exact: false, identities, scanned: tail.size };
  }
}

/** Whether a From_ line at `start` would begin a message: it is the first line, or after an empty one. */
export async function mayBegin(file: MailboxFile, start: number): Promise<boolean> {
  if (start === 0) return true;
  const before = Buffer.from(await file.read(Math.max(0, start - 3), start)).toString('latin1');
  return before.endsWith('\n\n') || before.endsWith('\n\r\n') || before === '\n' || before === '\r\n';
}

/** Indexes a file of `size` octets from a message on, with offsets from there; undefined when none begins there. */
async function scanFrom(file: MailboxFile, start: number, size: number): Promise<MailboxIndex | undefined> {
  try {
    return startingAtZero(await file.scan({ from: start, size }));
  } catch (error) {
    if (error instanceof NotMbox) return undefined;
    throw error;
  }
}

/** Empty lines may come before a first message: then it is not where we looked for it. */
function startingAtZero(index: MailboxIndex): MailboxIndex | undefined {
  return index.offsets[0] === 0 ? index : undefined;
}

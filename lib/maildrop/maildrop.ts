/**
 * One mailbox through one session: what lib/pop3 knows as `Maildrop`. The index made at login is the
 * session's snapshot: message-numbers, octets and unique-ids never move, mail that comes later is not
 * shown. While the mailbox locks are held, reading needs no check; after they were yielded, each read
 * is checked before its octets go out, and any change but an append ends the session without UPDATE.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { Unavailable } from '../errors.js';
import type { Extent, MailboxIndex } from '../mbox/mailbox-index.js';
import { WireForm } from '../mbox/wire.js';
import type { Maildrop } from '../pop3/ports.js';
import { identitiesOf } from './identities.js';
import type { FileStat } from './io.js';
import type { MailboxAccess } from './mailbox-access.js';
import { changeBetween } from './mailbox-file.js';
import { DiskFailure } from './redo.js';
import { type UserState, updateMailbox } from './update.js';

/** Octets read, and checked, at a time. */
export const READ_CHUNK = 64 * 1024;

export interface Snapshot {
  readonly access: MailboxAccess;
  readonly index: MailboxIndex;
  /** The file as it was when indexed. */
  readonly stat: FileStat;
  /**
   * Whether its change time was far enough in the past: a rewrite in the same tick of the file system's
   * clock would leave the same times, so until then equal times prove nothing.
   */
  readonly settled: boolean;
}

export interface MaildropOptions {
  readonly readOnly: boolean;
  /** @throws Disconnected when another session has taken the maildrop over */
  readonly beginUpdate: () => void;
  /** Sees that what an UPDATE may need in `STATE/USER` is there, as far as it can. Never throws. */
  readonly prepare: () => Promise<void>;
  /** Gives back the mailbox file, the journals and all locks. */
  readonly release: () => Promise<void>;
  readonly onDiskFailure: () => void;
}

/** The maildrop of a mailbox file that exists. */
export class MboxMaildrop implements Maildrop {
  readonly messages: number;
  /** Marked message-numbers, each with the digest of what the client asked to delete. */
  readonly #marked = new Map<number, string>();
  #uniqueIds: Promise<readonly string[]> | undefined;
  #prepared: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(
    private readonly snapshot: Snapshot,
    private readonly state: UserState,
    private readonly options: MaildropOptions,
  ) {
    this.messages = snapshot.index.messages;
  }

  octets(n: number): number {
    return this.snapshot.index.octets(n);
  }

  isMarked(n: number): boolean {
    return this.#marked.has(n);
  }

  async mark(n: number): Promise<void> {
    if (this.options.readOnly) throw new Unavailable('SYS/PERM', 'this maildrop is read-only');
    this.#prepared ??= this.options.prepare();
    await this.#prepared;
    const { start, end } = this.snapshot.index.extent(n);
    this.#marked.set(n, await this.#digest(n, start, end));
  }

  unmarkAll(): void {
    this.#marked.clear();
  }

  uniqueIds(): Promise<readonly string[]> {
    this.#uniqueIds ??= this.#computeUniqueIds();
    return this.#uniqueIds;
  }

  retrieve(n: number): AsyncIterable<Uint8Array> {
    return this.#wire(n, new WireForm());
  }

  top(n: number, lines: number): AsyncIterable<Uint8Array> {
    return this.#wire(n, new WireForm({ bodyLines: lines }));
  }

  async update(): Promise<void> {
    try {
      this.options.beginUpdate();
      // Nothing marked: nothing is written, no lock is taken (design promise P1).
      if (this.#marked.size > 0) await updateMailbox(this.snapshot, this.#marked, this.state);
    } catch (error) {
      if (error instanceof DiskFailure) this.options.onDiskFailure();
      throw error;
    } finally {
      await this.release();
    }
  }

  release(): Promise<void> {
    this.#closed ??= this.options.release();
    return this.#closed;
  }

  async *#wire(n: number, form: WireForm): AsyncGenerator<Uint8Array> {
    const { header, contentEnd } = this.snapshot.index.extent(n);
    for await (const chunk of this.#checkedChunks(n, header, contentEnd)) {
      const wire = form.encode(chunk);
      if (wire.length > 0) yield wire;
      if (form.done) return;
    }
    const rest = form.finish();
    if (rest.length > 0) yield rest;
  }

  async #digest(n: number, start: number, end: number): Promise<string> {
    const hash = createHash('sha256');
    for await (const chunk of this.#checkedChunks(n, start, end)) hash.update(chunk);
    return hash.digest('base64');
  }

  async #computeUniqueIds(): Promise<readonly string[]> {
    const { access, index, stat } = this.snapshot;
    const before = access.held ? stat : await this.#lookAgain();
    const identities = await identitiesOf(access.file, index);
    // One look afterwards covers all: the headers were read after the look before.
    if (!access.held) {
      const now = await access.file.stat();
      if (changeBetween(before, now) === 'other') throw broken('mailbox changed while it was read');
    }
    return this.state.memory.assign(identities);
  }

  /** The octets [from, to) of message n as they were indexed, or an error: never those of another message. */
  async *#checkedChunks(n: number, from: number, to: number): AsyncGenerator<Uint8Array> {
    const { access, index } = this.snapshot;
    let seen: FileStat | undefined;
    for (let position = from; position < to; ) {
      if (!access.held && seen === undefined) seen = await this.#confirm(index.extent(n));
      const chunk = await access.file.read(position, Math.min(to, position + READ_CHUNK));
      // Asked again: the locks may have been yielded while we read.
      if (!access.held) {
        const now = await access.file.stat();
        if (seen !== undefined && changeBetween(seen, now) === 'other') {
          throw broken('mailbox changed while it was read');
        }
        // Grown: by an append, unless the message begins otherwise now.
        if (seen === undefined || changeBetween(seen, now) === 'grown') {
          seen = await this.#confirm(index.extent(n));
        }
      }
      if (chunk.length === 0) throw broken('mailbox is shorter than it was');
      position += chunk.length;
      yield chunk;
    }
  }

  /** The file now, provided that it is as indexed or has only grown. */
  async #lookAgain(): Promise<FileStat> {
    const now = await this.snapshot.access.file.stat();
    if (changeBetween(this.snapshot.stat, now) === 'other')
      throw broken('mailbox was changed by another program');
    return now;
  }

  /** The same, and message n still begins as indexed: a rewrite that ended larger looks like an append. */
  async #confirm(extent: Extent): Promise<FileStat> {
    const now = await this.#lookAgain();
    if (changeBetween(this.snapshot.stat, now) === 'same' && this.snapshot.settled) return now;
    let crc = 0;
    for (let position = extent.start; position < extent.body; ) {
      const chunk = await this.snapshot.access.file.read(
        position,
        Math.min(extent.body, position + READ_CHUNK),
      );
      if (chunk.length === 0) throw broken('mailbox is shorter than it was');
      crc = crc32(chunk, crc);
      position += chunk.length;
    }
    if (crc !== extent.headerCrc) throw broken('mailbox was changed by another program');
    return now;
  }
}

/** The snapshot is no longer true: the session must end, and never runs UPDATE. */
function broken(message: string): Unavailable {
  return new Unavailable('SYS/TEMP', message, { fatal: true });
}

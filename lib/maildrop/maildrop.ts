/**
 * One mailbox through one session: what lib/pop3 knows as `Maildrop`. The index made at login is the
 * session's snapshot: message-numbers, octets and unique-ids never move, mail that comes later is not
 * shown. While the mailbox locks are held, reading needs no check; after they were yielded, each read
 * is checked before its octets go out, and any change but an append ends the session without UPDATE.
 */
import { createHash } from 'node:crypto';
import { Unavailable } from '../errors.js';
import { IDENTITY } from '../mbox/unique-id.js';
import { WireForm } from '../mbox/wire.js';
import type { Maildrop, MessageReader } from '../pop3/ports.js';
import { BLOCK, type Blocks } from './blocks.js';
import { CheckedOctets } from './checked-octets.js';
import { ExtentProof } from './extent-proof.js';
import { identitiesOf } from './identities.js';
import { keepIndex, lookedAt, type Updated } from './keep-index.js';
import { changeBetween } from './mailbox-file.js';
import { LaterReader, MessageOnTheWire } from './message-on-the-wire.js';
import { DiskFailure } from './redo.js';
import {
  beginsAsItDid,
  hasHeaderOf,
  isWhereItWas,
  keptIdentity,
  READ_CHUNK,
  type Snapshot,
  saysTheSame,
  takeSnapshot,
} from './snapshot.js';
import { type UserState, updateMailbox } from './update.js';

/** What a line of a body has at most, usually, in octets: to guess how much TOP will read. */
const USUAL_LINE = 80;

/** Reading ahead for TOP pays when the headers of so many messages lie in one block. */
const HEADERS_A_BLOCK = 5;

/** So many messages of the cache are proved in any case. */
const FEW_PROOFS = 32;

/** Octets of a mailbox that are indexed in the time one proof takes; measured. */
const PROOF_WORTH = 256 * 1024;

/** Runs what opens files, with descriptors for it (`rest.ts`). */
export type Awake = <T>(work: () => Promise<T>) => Promise<T>;

export interface MaildropOptions {
  readonly readOnly: boolean;
  /** @throws Disconnected when another session has taken the maildrop over */
  readonly beginUpdate: () => void;
  /** Sees that what an UPDATE may need in `STATE/USER` is there, as far as it can. Never throws. */
  readonly prepare: () => Promise<void>;
  readonly awake: Awake;
  /** Gives back the mailbox file, the journals and all locks. */
  readonly release: () => Promise<void>;
  readonly onDiskFailure: () => void;
  /** The memory for reading ahead. */
  readonly blocks: Blocks;
}

/** The maildrop of a mailbox file that exists. */
export class MboxMaildrop implements Maildrop {
  readonly messages: number;
  readonly totalOctets: number;
  /** Marked message-numbers, each with the digest of what the client asked to delete. */
  readonly #marked = new Map<number, string>();
  #uniqueIds: Promise<readonly string[]> | undefined;
  #prepared: Promise<void> | undefined;
  #givenBack: Promise<void> | undefined;
  #over: Promise<void> | undefined;
  /** The unique-ids, once a client may know them, and what they were made of. */
  #told: { readonly ids: readonly string[]; readonly identities: Buffer } | undefined;
  /** Messages that a client may have read by an index that is not known to be true. */
  readonly #served = new Set<number>();
  #updated: Updated | undefined;
  /** Messages of the cache that were to be proved. */
  #proofs = 0;
  /** Whether the index was found to be wrong, or may be. */
  #doubtful = false;
  readonly #octets: CheckedOctets;

  constructor(
    private snapshot: Snapshot,
    private readonly state: UserState,
    private readonly options: MaildropOptions,
  ) {
    this.messages = snapshot.index.messages;
    this.totalOctets = snapshot.index.totalOctets;
    this.#octets = new CheckedOctets(snapshot, options.blocks, message => this.#broken(message));
  }

  octets(n: number): number {
    return this.snapshot.index.octets(n);
  }

  isMarked(n: number): boolean {
    return this.#marked.has(n);
  }

  /** Sees, once, that what an UPDATE may need is there. */
  prepare(): Promise<void> {
    this.#prepared ??= this.options.prepare();
    return this.#prepared;
  }

  async mark(n: number): Promise<void> {
    if (this.options.readOnly) throw new Unavailable('SYS/PERM', 'this maildrop is read-only');
    await this.prepare();
    this.#marked.set(n, await this.#digest(n));
  }

  unmarkAll(): void {
    this.#marked.clear();
  }

  uniqueIds(): Promise<readonly string[]> {
    this.#uniqueIds ??= this.options.awake(() => this.#computeUniqueIds());
    return this.#uniqueIds;
  }

  retrieve(n: number): MessageReader {
    return this.#asKept(n, () => {
      const { header, contentEnd, octets } = this.snapshot.index.extent(n);
      const wanted = { from: header, to: contentEnd, surely: contentEnd, ahead: true };
      const message = this.#octets.message(n, wanted);
      return new MessageOnTheWire(
        message,
        new WireForm({ kernel: this.snapshot.access.file.kernel }),
        header,
        contentEnd,
        octets,
      );
    });
  }

  top(n: number, lines: number): MessageReader {
    return this.#asKept(n, () => {
      const { index } = this.snapshot;
      const { header, body, contentEnd } = index.extent(n);
      const surely = Math.min(contentEnd, body + lines * USUAL_LINE);
      const later = index.extent(Math.min(index.messages, n + HEADERS_A_BLOCK - 1));
      const ahead = later.body - header <= BLOCK;
      const message = this.#octets.message(n, { from: header, to: contentEnd, surely, ahead });
      const form = new WireForm({ bodyLines: lines, kernel: this.snapshot.access.file.kernel });
      return new MessageOnTheWire(message, form, header, contentEnd, Number.POSITIVE_INFINITY);
    });
  }

  async update(): Promise<void> {
    try {
      this.options.beginUpdate();
      // Nothing marked: nothing is written, no lock is taken (design promise P1).
      if (this.#marked.size > 0) {
        const { snapshot, state } = this;
        const index = await this.options.awake(() => updateMailbox(snapshot, this.#marked, state));
        const seenAt = Date.now();
        const stat = await lookedAt(snapshot.access.file, snapshot.stat);
        this.#updated = { index, marked: this.#marked, stat, seenAt };
      }
    } catch (error) {
      this.#doubtful = true;
      if (error instanceof DiskFailure) this.options.onDiskFailure();
      throw error;
    } finally {
      await this.#giveBack();
    }
  }

  release(): Promise<void> {
    this.#over ??= this.#leave();
    return this.#over;
  }

  /** What others may wait for, and the client: it may come again once it is answered. */
  #giveBack(): Promise<void> {
    this.#givenBack ??= (async () => {
      await this.#prepared;
      await this.#octets.close();
      await this.options.release();
    })();
    return this.#givenBack;
  }

  /** After UPDATE no client waits for the index; and if there was none, the session lock is kept for so long. */
  async #leave(): Promise<void> {
    const { cache } = this.state;
    try {
      await this.#prepared;
      const { snapshot } = this;
      snapshot.access.yield();
      const identities = this.#told?.identities;
      await keepIndex(cache, { snapshot, doubtful: this.#doubtful, identities, updated: this.#updated });
    } finally {
      await this.#giveBack();
      cache.close();
    }
  }

  /**
   * Digests a message that is to be deleted. One that only the cache knows is proved first; who deletes so many that
   * the proofs would cost more has all of the file indexed instead.
   */
  async #digest(n: number): Promise<string> {
    if (n <= this.snapshot.believed && this.#proofs++ >= FEW_PROOFS) {
      if (this.#proofs * PROOF_WORTH > this.snapshot.index.size) await this.#indexAgain();
    }
    const { access, index, believed } = this.snapshot;
    const { start, end } = index.extent(n);
    const hash = createHash('sha256');
    const proof = n <= believed ? new ExtentProof(access.file, index, n) : undefined;
    const octets = this.#octets.message(n, { from: start, to: end, surely: end, ahead: true });
    for (let position = start; position < end; ) {
      const stop = Math.min(end, position + READ_CHUNK);
      const chunk = octets.view(position, stop);
      if (chunk === undefined) {
        await octets.load(position, stop);
        continue;
      }
      hash.update(chunk);
      proof?.push(chunk);
      position += chunk.length;
    }
    if (proof === undefined || (await proof.holds(keptIdentity(this.snapshot, n))))
      return hash.digest('base64');
    await this.#indexAgain();
    return this.#digest(n);
  }

  async #computeUniqueIds(): Promise<readonly string[]> {
    let identities: Buffer;
    try {
      identities = await this.#identities();
    } catch (error) {
      if (this.snapshot.believed === 0) throw error;
      await this.#indexAgain();
      identities = await this.#identities();
    }
    const ids = await this.state.memory.assign(identities);
    this.#told = { ids, identities };
    return ids;
  }

  /** Of the messages of this session. What the cache has of them is not read again. */
  async #identities(): Promise<Buffer> {
    const { access, index, stat, identities } = this.snapshot;
    const before = access.held ? stat : await this.#octets.lookAgain();
    const read = await identitiesOf(access.file, index, identities.length / IDENTITY + 1);
    // One look afterwards covers all: the headers were read after the look before.
    if (!access.held) {
      const now = await access.file.statSince(before);
      if (changeBetween(before, now) === 'other') throw this.#broken('mailbox changed while it was read');
    }
    return Buffer.concat([identities, read]).subarray(0, this.messages * IDENTITY);
  }

  /** A reader of a message; one that the cache knew of an earlier state of the file is looked at before. */
  #asKept(n: number, reader: () => MessageReader): MessageReader {
    const { exact, believed } = this.snapshot;
    const serve = () => {
      if (this.snapshot.believed > 0) this.#served.add(n);
      return reader();
    };
    if (exact || n > believed || this.#octets.hasSeenHeaderOf(n)) return serve();
    return new LaterReader(async () => {
      const { access, index } = this.snapshot;
      if (!(await hasHeaderOf(access.file, index.extent(n)))) await this.#indexAgain();
      return serve();
    });
  }

  /** The file is not what the cache had of it: all of it is read after all, and nothing told may turn out untrue. */
  async #indexAgain(): Promise<void> {
    const was = this.snapshot;
    if (!was.access.held) await this.#octets.lookAgain();
    const now = await takeSnapshot(was.access);
    const marked = [...this.#marked.keys()];
    if (
      !saysTheSame(was.index, now.index, this.messages) ||
      !marked.every(n => isWhereItWas(was.index.extent(n), now.index.extent(n))) ||
      // Another message of the same length under that number would be deleted unread.
      ![...this.#served].every(n => beginsAsItDid(was.index.extent(n), now.index.extent(n)))
    ) {
      throw this.#broken('mailbox was changed by another program');
    }
    this.snapshot = now;
    this.#octets.indexedAgain(now);
    const told = this.#told;
    if (told === undefined) return;
    const again = await this.state.memory.assign(await this.#identities());
    if (told.ids.some((id, i) => id !== again[i]))
      throw this.#broken('mailbox was changed by another program');
  }

  /** The snapshot is no longer true: the session must end, and never runs UPDATE. */
  #broken(message: string): Unavailable {
    this.#doubtful = true;
    return new Unavailable('SYS/TEMP', message, { fatal: true });
  }
}

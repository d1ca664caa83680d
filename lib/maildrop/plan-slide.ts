/**
 * Carries a plan out: moves the kept octets of a mailbox file down in place, step by step, and cuts what is
 * left behind them, with no more room than the plan journal has. In this order, on which all rests:
 *
 *   each step   write it into the mailbox; fsync the mailbox
 *               record the next one, with what it must not lose; fsync the plan journal
 *   at the end  the last step clears what the cut may clear as well; then the cut is recorded
 *               cut the mailbox; fsync the mailbox
 *   done        wipe the plan
 *
 * A step can be made again for as long as it is the recorded one: its octets stand further up, where it does
 * not reach, or in the journal. Mail appended meanwhile becomes part of what is kept with the next record.
 */
import { hash, randomBytes } from 'node:crypto';
import type { Range } from '../mbox/compaction.js';
import { type FileStat, readFully, writeFully } from './io.js';
import { NONCE, SECTOR } from './journal-format.js';
import { encodeRanges } from './kept-ranges.js';
import type { MailboxFile } from './mailbox-file.js';
import { DIGEST, type PlanHeader, type Step, sha256 } from './plan-format.js';
import type { Plan, PlanJournal } from './plan-journal.js';
import { KeptStream, type Move } from './plan-ranges.js';
import { gathered, type Piece, sectorsOf } from './ranges.js';
import { DiskFailure, SYNC_TRIES } from './redo.js';
import { SECTOR_HASH, sectorHash } from './sector-hash.js';
import type { UpdateLocks } from './update-locks.js';

const NOTHING = new Uint8Array();

/** What an UPDATE keeps of a mailbox file. */
export interface Keeping {
  /** The file, when `kept` was made. */
  readonly stat: FileStat;
  readonly from: number;
  /** Not empty: what lies behind `from`, in file order. */
  readonly kept: readonly Range[];
}

/** Thrown when a plan journal cannot hold a plan: none could be made, or there are too many ranges. */
export class NoRoomForPlan extends Error {}

export class PlanSlide {
  readonly #stream: KeptStream;

  /** @param locks asked before the mailbox is written; the plan stays if that throws */
  constructor(
    private readonly mailbox: MailboxFile,
    private readonly journal: PlanJournal,
    private readonly plan: Plan,
    private readonly locks: UpdateLocks,
  ) {
    this.#stream = new KeptStream(plan.header, plan.kept);
  }

  /**
   * Commits a plan for a mailbox that is as `stat` says. When it throws, the mailbox is as it was and there
   * is no plan, unless the disk refuses even that.
   * @param verify asked last: throws when the mailbox is not what `keeping` was made from
   * @returns the first step, for `run`
   * @throws NoRoomForPlan
   */
  static async commit(
    mailbox: MailboxFile,
    journal: PlanJournal,
    { stat, from, kept }: Keeping,
    verify: () => Promise<void>,
    locks: UpdateLocks,
  ): Promise<{ slide: PlanSlide; first: Step }> {
    const ranges = encodeRanges(from, kept);
    const layout = await journal.open(ranges.length);
    if (layout === undefined || ranges.length > layout.ranges) {
      throw new NoRoomForPlan(`${kept.length} ranges do not fit into ${journal.path}`);
    }
    const header: PlanHeader = {
      layout,
      ino: stat.ino,
      uid: stat.uid,
      from,
      oldSize: stat.size,
      rangesLength: ranges.length,
      rangesSha: sha256(ranges),
      nonce: randomBytes(NONCE),
    };
    const slide = new PlanSlide(mailbox, journal, { header, kept }, locks);
    const move = slide.#stream.moveAt(from, stat.size);
    const rest = await slide.digest(move.at + move.length, stat.size);
    const done = new Uint8Array(DIGEST);
    const { step, saved } = await slide.#stepOf(0, move, stat.size, { done, rest });
    await verify();
    await slide.#probe(stat.size);
    await journal.commit(header, ranges, step, saved);
    locks.updating(header.nonce);
    return { slide, first: step };
  }

  /**
   * Writes the last octet that will be written over itself: a limit on the size of files holds for octets
   * that are there, too, and is better met before anything is decided.
   */
  async #probe(tail: number): Promise<void> {
    const { io, fd } = this.mailbox;
    const end = this.#stream.writtenEnd(tail);
    const octet = await this.mailbox.read(end - 1, end);
    // It may be another program's by now, as the lock.
    await this.locks.mustBeIntact();
    await writeFully(io, fd, octet, end - 1);
  }

  /** From the recorded step to the end. */
  async run(recorded: Step): Promise<void> {
    for (let step = recorded; ; ) {
      await this.locks.mustBeIntact();
      if (step.kind !== 'cut') await this.#make(step);
      else if ((await this.#tail(step)) === step.tail) return this.#cut(step);
      step = await this.#recordNext(step);
    }
  }

  /** Octets of the mailbox file now. */
  async #tail(step: Step): Promise<number> {
    const { size } = await this.mailbox.stat();
    if (size < step.tail) throw new Error('mailbox was cut by another program');
    return size;
  }

  /** Makes a step, durably. A failed fsync(2) is never believed to be over: the step is made again. */
  async #make(step: Step): Promise<void> {
    const { io, fd } = this.mailbox;
    for (let attempt = 1; ; attempt++) {
      let at = step.at;
      for await (const octets of this.#octetsOf(step)) {
        // As in `Redo`: nothing is read between the look and the write.
        await this.locks.mustBeIntact();
        await writeFully(io, fd, octets, at);
        at += octets.length;
      }
      try {
        return await io.sync(fd);
      } catch (cause) {
        if (attempt > SYNC_TRIES) throw new DiskFailure(cause);
      }
    }
  }

  #octetsOf(step: Step): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
    const { io } = this.mailbox;
    switch (step.kind) {
      case 'copy':
        return gathered(io, this.#pieces(step));
      case 'save':
        return gathered(io, [this.journal.saved(this.plan.header, step)]);
      default:
        return [Buffer.alloc(step.length)];
    }
  }

  /** Where the mailbox file has the octets of a move. */
  #pieces({ at, length }: Move): Piece[] {
    return this.#stream.sources(at, length).map(range => ({ fd: this.mailbox.fd, ...range }));
  }

  async #recordNext(step: Step): Promise<Step> {
    const tail = await this.#tail(step);
    const grown = tail > step.tail;
    const end = step.at + step.length;
    let move: Move;
    // A clearing, and a cut that mail came before, end behind the kept octets.
    if (step.kind !== 'clear' && step.kind !== 'cut') move = this.#stream.moveAt(end, tail);
    else if (grown) move = this.#stream.moveAt(step.at, tail);
    else move = { kind: 'cut', at: step.at, length: step.length };
    const digests = {
      done: await this.#doneBefore(step, move),
      rest: await this.#restAfter(step, move, tail),
    };
    const { step: next, saved } = await this.#stepOf(step.sequence + 1, move, tail, digests);
    // Asked after all was read that the record will vouch for: it may have been rewritten by another program.
    await this.locks.mustBeIntact();
    await this.journal.record(this.plan.header, next, saved);
    return next;
  }

  /** The digest of what a move leaves alone: that of the step before it, less what it does not. */
  async #restAfter(before: Step, move: Move, tail: number): Promise<Uint8Array> {
    const [start, end] = [before.at + before.length, move.at + move.length];
    if (tail > before.tail) {
      // Has it grown by an append? A rewrite that ended larger must not become what the plan goes by.
      const known = Buffer.from(await this.digest(start, before.tail)).equals(before.rest);
      if (!known) throw new Error('mailbox was rewritten by another program');
      return this.digest(end, tail);
    }
    const common = Math.min(tail, Math.ceil(end / SECTOR) * SECTOR);
    const [was, is] = [await this.digest(start, common), await this.digest(end, common)];
    return before.rest.map((octet, i) => octet ^ was[i]! ^ is[i]!);
  }

  /** The digest of what is in place before a move: that of the step before it, and what that has moved. */
  async #doneBefore(before: Step, move: Move): Promise<Uint8Array> {
    const start = Math.max(this.plan.header.from, Math.floor(before.at / SECTOR) * SECTOR);
    const [was, is] = [await this.digest(start, before.at), await this.digest(start, move.at)];
    return before.done.map((octet, i) => octet ^ was[i]! ^ is[i]!);
  }

  /** A step with what has to be saved for it. */
  async #stepOf(
    sequence: number,
    move: Move,
    tail: number,
    digests: Pick<Step, 'done' | 'rest'>,
  ): Promise<{ step: Step; saved: Uint8Array }> {
    const saved = await this.#toSave(move);
    return {
      step: { ...move, ...digests, sequence, tail, savedLength: saved.length, savedSha: sha256(saved) },
      saved,
    };
  }

  async #toSave(move: Move): Promise<Uint8Array> {
    if (move.kind === 'save') {
      for await (const octets of gathered(this.mailbox.io, this.#pieces(move))) return octets;
    }
    if (move.kind !== 'clear') return NOTHING;
    const hashes: Uint8Array[] = [];
    const end = move.at + move.length;
    for await (const { octets } of sectorsOf(this.mailbox.io, this.mailbox.fd, move.at, end)) {
      hashes.push(...octets.map(sectorHash));
    }
    return Buffer.concat(hashes);
  }

  async #cut(step: Step): Promise<void> {
    const { io, fd } = this.mailbox;
    await io.truncate(fd, step.at);
    try {
      await io.sync(fd);
    } catch (cause) {
      // Nothing could be written again that would make it true.
      throw new DiskFailure(cause);
    }
    this.locks.updated();
    await this.journal.finish();
  }

  /**
   * Whether the mailbox file is provably in the state that a record describes. Before a cut only NULs stand
   * where it may clear: no mail that came after it looks like them, and to cut them off can do no harm.
   */
  async matches(step: Step): Promise<boolean> {
    const end = step.at + step.length;
    const [done, rest] = [
      await this.digest(this.plan.header.from, step.at),
      await this.digest(end, step.tail),
    ];
    if (!Buffer.from(done).equals(step.done) || !Buffer.from(rest).equals(step.rest)) return false;
    if (step.kind === 'clear') return this.#isClearedOrNot(step);
    return step.kind !== 'cut' || (await this.mailbox.read(step.at, end)).every(octet => octet === 0);
  }

  /**
   * Whether the cut of this step was made: all that is kept stands where it belongs, and behind it is not what was to
   * be cut off, which begins with as many NULs as were written there. A tail that the disk has lost is NUL as well.
   */
  async isCut({ at, length, done }: Step): Promise<boolean> {
    if ((await this.mailbox.stat()).size < at) return false;
    if (!Buffer.from(await this.digest(this.plan.header.from, at)).equals(done)) return false;
    const behind = await this.mailbox.read(at, at + length + 1);
    const cleared = behind.findIndex(octet => octet !== 0);
    return cleared !== length;
  }

  /** Each sector as it was before, or cleared. */
  async #isClearedOrNot(step: Step): Promise<boolean> {
    const saved = this.journal.saved(this.plan.header, step);
    const hashes = Buffer.alloc(step.savedLength);
    await readFully(this.mailbox.io, saved.fd, hashes, saved.start);
    let sector = 0;
    for await (const { octets } of sectorsOf(
      this.mailbox.io,
      this.mailbox.fd,
      step.at,
      step.at + step.length,
    )) {
      for (const found of octets) {
        const was = hashes.subarray(sector * SECTOR_HASH, ++sector * SECTOR_HASH);
        if (!sectorHash(found).equals(was) && found.some(octet => octet !== 0)) return false;
      }
    }
    return true;
  }

  /**
   * A digest of the mailbox file's sectors, as far as they lie in [start, end), each with its place: the
   * sum without carry, so that sectors can be taken out of it again. It need not resist forgery.
   */
  async digest(start: number, end: number): Promise<Uint8Array> {
    const sum = new Uint8Array(DIGEST);
    const buffer = Buffer.alloc(8 + SECTOR);
    for await (const run of sectorsOf(this.mailbox.io, this.mailbox.fd, start, end)) {
      let at = run.start;
      for (const octets of run.octets) {
        buffer.writeBigUInt64LE(BigInt(at), 0);
        buffer.set(octets, 8);
        const one = hash('sha1', buffer.subarray(0, 8 + octets.length), 'buffer');
        for (let i = 0; i < DIGEST; i++) sum[i]! ^= one[i]!;
        at += octets.length;
      }
    }
    return sum;
  }
}

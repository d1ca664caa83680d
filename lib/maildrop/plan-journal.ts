/**
 * The plan journal file of one user, `STATE/USER/journal.plan`: made while there is room, of a size that
 * never changes, so that an UPDATE can be committed and carried out on a disk without a free block.
 *
 * Invariant: a header is on the disk only after everything that it vouches for, and is wiped, durably,
 * before any of that is written over; so a plan with a header that does not agree with the rest has
 * rotted, and is kept for a human.
 */
import { constants } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../errors.js';
import type { Range } from '../mbox/compaction.js';
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
  type JournalPlace,
  makeDirectory,
  openJournalFile,
  renameAside,
  secureFile,
} from './journal-file.js';
import { SECTOR } from './journal-format.js';
import { decodeRanges } from './kept-ranges.js';
import {
  decodePlanHeader,
  decodeStep,
  encodePlanHeader,
  encodeStep,
  keptAt,
  type PlanHeader,
  type PlanLayout,
  planOctets,
  RANGES_AT,
  RECORD_AT,
  SMALL_LAYOUT,
  type Step,
  sha256,
  USUAL_LAYOUT,
} from './plan-format.js';
import type { Piece } from './ranges.js';

export interface Plan {
  readonly header: PlanHeader;
  readonly kept: readonly Range[];
}

export interface CommittedPlan {
  readonly plan: Plan;
  readonly step: Step;
}

export type PlanState =
  | { readonly is: 'none' }
  | { readonly is: 'torn' | 'other' | 'foreign'; readonly reason: string }
  | ({ readonly is: 'committed' } & CommittedPlan);

/** What it takes to remember one in which nothing was found, octets. */
const REMEMBERED = 512;

/** Tried in this order while there is room. */
export const USUAL_LAYOUTS: readonly PlanLayout[] = [USUAL_LAYOUT, SMALL_LAYOUT];

export class PlanJournal {
  readonly path: string;
  #fd: number | undefined;
  /** Octets, when it was read; 0 when there was none. */
  #found = 0;

  constructor(
    private readonly place: JournalPlace,
    private readonly layouts: readonly PlanLayout[] = USUAL_LAYOUTS,
  ) {
    this.path = `${place.dir}/journal.plan`;
  }

  get #open(): number {
    if (this.#fd === undefined) throw new Error('the plan journal is not open');
    return this.#fd;
  }

  async close(): Promise<void> {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) await this.place.io.close(fd);
  }

  /** Whether there is none, or one in which this process has found nothing, and which has not changed since. */
  isIdle(): MaybeLater<boolean> {
    const { io, idle } = this.place;
    if (idle === undefined) return false;
    return whenThere(lookAt(io, this.path), stat => {
      if (stat !== undefined && idle.recall(this.path, stat) === undefined) return false;
      this.#found = stat?.size ?? 0;
      return true;
    });
  }

  /** Opens what is there and says what it is, having checked all of it. It stays open if it is a plan. */
  async read(): Promise<PlanState> {
    await this.close();
    const seenAt = Date.now();
    const opened = await openJournalFile(this.place, this.path);
    if ('missing' in opened) return { is: 'none' };
    if ('foreign' in opened) return { is: 'foreign', reason: opened.foreign };
    this.#fd = opened.fd;
    this.#found = opened.size;
    const state = await this.#read(opened.size);
    if (state.is !== 'committed') await this.close();
    if (state.is === 'none') this.place.idle?.remember(this.path, opened.stat, seenAt, true, REMEMBERED);
    return state;
  }

  async #read(size: number): Promise<PlanState> {
    const header = decodePlanHeader(await this.#octets(0, SECTOR));
    if (header === 'none') return { is: 'none' };
    if (header === 'other') return { is: 'other', reason: 'it was written by another version' };
    if (header === 'torn') return { is: 'torn', reason: 'its header is damaged' };
    const { layout, from, oldSize, rangesLength } = header;
    if (planOctets(layout) > size || rangesLength > layout.ranges) {
      return { is: 'torn', reason: 'it is shorter than it was' };
    }
    const octets = await this.#octets(RANGES_AT, rangesLength);
    const kept = sha256(octets).equals(header.rangesSha) ? decodeRanges(from, oldSize, octets) : undefined;
    if (kept === undefined) return { is: 'torn', reason: 'its ranges are damaged' };
    const steps = [await this.#stepOf(header, 0), await this.#stepOf(header, 1)];
    const step = steps.reduce((last, one) => ((one?.sequence ?? -1) > (last?.sequence ?? -1) ? one : last));
    if (step === undefined) return { is: 'torn', reason: 'its steps are damaged' };
    return { is: 'committed', plan: { header, kept }, step };
  }

  /** A step whose record is whole, with all that was saved for it. */
  async #stepOf({ nonce, layout }: PlanHeader, record: 0 | 1): Promise<Step | undefined> {
    const step = decodeStep(await this.#octets(RECORD_AT[record]!, SECTOR), nonce);
    if (step === undefined || step.savedLength > layout.step) return undefined;
    const saved = await this.#octets(keptAt(layout, record), step.savedLength);
    return sha256(saved).equals(step.savedSha) ? step : undefined;
  }

  /** Whether the file was found large enough for so many octets of ranges when it was read. */
  isMadeFor(ranges: number): boolean {
    return this.#found >= planOctets(this.#wanted(ranges)[0]!);
  }

  /**
   * Makes the file, while there is room: what it needs later is taken now. Does nothing when it is there.
   * @param ranges octets that the kept ranges of the mailbox may take
   * @throws when there is no room for the smallest one, either
   */
  async prepare(ranges: number): Promise<void> {
    const { io } = this.place;
    // Recovery may have gone by it, at login.
    await this.close();
    const opened = await openJournalFile(this.place, this.path);
    if ('foreign' in opened) throw new Error(`${this.path} is not ours: ${opened.foreign}`);
    let size = 0;
    if ('fd' in opened) {
      this.#fd = opened.fd;
      size = opened.size;
    } else {
      await makeDirectory(this.place);
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      this.#fd = await io.open(this.path, flags, 0o600);
    }
    try {
      await this.#grow(size, this.#wanted(ranges));
    } finally {
      await this.close();
    }
  }

  /** Layouts to be tried in this order: larger than usual where there may be more ranges than usual. */
  #wanted(ranges: number): readonly PlanLayout[] {
    const usual = this.layouts[0]!;
    if (ranges <= usual.ranges) return this.layouts;
    return [{ ...usual, ranges: Math.ceil(ranges / SECTOR) * SECTOR }, ...this.layouts];
  }

  /** To the largest of the layouts that there is room for; not beyond one that it has already. */
  async #grow(size: number, layouts: readonly PlanLayout[]): Promise<void> {
    const { io } = this.place;
    let refusal: unknown;
    for (const layout of layouts) {
      const wanted = planOctets(layout);
      if (wanted <= size) return;
      try {
        await writeFully(io, this.#open, Buffer.alloc(wanted - size), size);
        await io.sync(this.#open);
        return;
      } catch (error) {
        refusal = error;
        await io.truncate(this.#open, size);
      }
    }
    throw refusal;
  }

  /**
   * Opens the file for a new plan, wiped.
   * @param ranges octets of its kept ranges
   * @returns its layout; undefined when there is none that can be used
   */
  async open(ranges: number): Promise<PlanLayout | undefined> {
    const { io } = this.place;
    await this.prepare(ranges);
    const opened = await openJournalFile(this.place, this.path);
    if (!('fd' in opened)) return undefined;
    this.#fd = opened.fd;
    // Whoever made it may have been killed before its name was on the disk.
    await makeDirectory(this.place);
    await syncDirectory(io, this.place.dir);
    await this.#wipe();
    const layout = await this.#usableLayout(opened.size, this.#wanted(ranges));
    await io.sync(this.#open);
    return layout;
  }

  /** One that can be written to its end: a limit on the size of files is met before anything is decided. */
  async #usableLayout(size: number, layouts: readonly PlanLayout[]): Promise<PlanLayout | undefined> {
    for (const layout of layouts) {
      const octets = planOctets(layout);
      if (octets > size) continue;
      try {
        await writeFully(this.place.io, this.#open, Buffer.alloc(1), octets - 1);
        return layout;
      } catch (error) {
        if (errnoOf(error) !== 'EFBIG') throw error;
      }
    }
    return undefined;
  }

  /** Commits a plan and its first step: when this returns, it will be carried out whatever happens. */
  async commit(header: PlanHeader, ranges: Uint8Array, first: Step, saved: Uint8Array): Promise<void> {
    const { io } = this.place;
    await writeFully(io, this.#open, ranges, RANGES_AT);
    await this.#write(header, first, saved);
    await io.sync(this.#open);
    try {
      await writeFully(io, this.#open, encodePlanHeader(header), 0);
      await io.sync(this.#open);
    } catch (cause) {
      try {
        await this.#wipe();
        await io.sync(this.#open);
      } catch (error) {
        throw new AggregateError([cause, error], 'the plan could be neither written nor dropped');
      }
      throw cause;
    }
  }

  /** Records, durably, that all steps before this one are on the disk, and this one is being made. */
  async record(header: PlanHeader, step: Step, saved: Uint8Array): Promise<void> {
    const { io } = this.place;
    await this.#write(header, step, saved);
    try {
      await io.sync(this.#open);
    } catch {
      // The state of these sectors is unknown now (fsync(2)): written again, and believed once more only.
      await this.#write(header, step, saved);
      await io.sync(this.#open);
    }
  }

  /** Where the octets saved for a step are. */
  saved(header: PlanHeader, step: Step): Piece {
    const start = keptAt(header.layout, step.sequence % 2);
    return { fd: this.#open, start, end: start + step.savedLength };
  }

  /** Makes durable what `read` found. */
  secure(): Promise<void> {
    return secureFile(this.place, this.#open);
  }

  /** The plan is carried out. Not synced: one that comes back finds the mailbox cut, or changed since, and does nothing. */
  finish(): Promise<void> {
    return this.#wipe();
  }

  /** Keeps the file under another name, for a human. @returns its path */
  async setAside(why: string): Promise<string> {
    await this.close();
    return renameAside(this.place, this.path, why);
  }

  async #write({ layout, nonce }: PlanHeader, step: Step, saved: Uint8Array): Promise<void> {
    const { io } = this.place;
    const record = step.sequence % 2 === 0 ? 0 : 1;
    await writeFully(io, this.#open, saved, keptAt(layout, record));
    await writeFully(io, this.#open, encodeStep(step, nonce), RECORD_AT[record]!);
  }

  #wipe(): Promise<void> {
    return writeFully(this.place.io, this.#open, Buffer.alloc(SECTOR), 0);
  }

  /** NULs where the file is shorter. */
  async #octets(start: number, length: number): Promise<Buffer> {
    const octets = Buffer.alloc(length);
    await readFully(this.place.io, this.#open, octets, start);
    return octets;
  }
}

/** Whether a directory has a plan journal with anything in it, or something else of that name. */
export async function holdsPlan(io: SpoolIo, dir: string): Promise<boolean> {
  const path = join(dir, 'journal.plan');
  let fd: number | undefined;
  try {
    if ((await io.lstat(path)).kind !== 'file') return true;
    fd = await io.open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const octets = Buffer.alloc(SECTOR);
    await readFully(io, fd, octets, 0);
    return decodePlanHeader(octets) !== 'none';
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  } finally {
    if (fd !== undefined) await io.close(fd);
  }
}

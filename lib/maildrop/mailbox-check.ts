/**
 * Holds a mailbox file against what a journal says of it. A sector is as it was if it has the octets that
 * the journal is to move from there, or, where some of them are not kept, if it has the hash that the
 * journal has of it. It is as it will be if it has the octets that the journal is to write there.
 */
import type { Range } from '../mbox/compaction.js';
import { readFully, type SpoolIo } from './io.js';
import {
  AROUND_AT,
  aroundRange,
  type JournalHeader,
  markerOf,
  REDO_AT,
  SECTOR,
  tableAt,
} from './journal-format.js';
import type { CommittedJournal } from './journal-record.js';
import { LostSectors } from './kept-ranges.js';
import type { MailboxFile } from './mailbox-file.js';
import { sectorsOf } from './ranges.js';
import { SECTOR_HASH, sectorHash } from './sector-hash.js';

/** Octets looked through at a time. */
const SEARCHED = 256 * 1024;

export class MailboxCheck {
  private readonly io: SpoolIo;
  private readonly header: JournalHeader;
  private readonly kept: readonly Range[];
  private readonly lost: LostSectors;

  constructor(
    private readonly mailbox: MailboxFile,
    /** Where the journal is open. */
    private readonly journal: { readonly fd: number },
    { header, kept }: CommittedJournal,
  ) {
    this.io = mailbox.io;
    this.header = header;
    this.kept = kept;
    this.lost = new LostSectors(header.from, header.oldSize, kept);
  }

  /** Whether our marker stands at the new end, so that the cut has not been made. */
  async hasMarker(): Promise<boolean> {
    const { newSize } = this.header;
    const marker = markerOf(this.header);
    return Buffer.from(await this.mailbox.read(newSize, newSize + marker.length)).equals(marker);
  }

  /** Whether our marker stands in the file at all: nobody but us has written its random octets. */
  async hasMarkerAnywhere(): Promise<boolean> {
    const marker = Buffer.from(markerOf(this.header));
    if (marker.length < this.header.nonce.length) return false; // So short, it may stand anywhere.
    for (let at = 0; ; at += SEARCHED) {
      // A marker that begins here may end in what comes next.
      const octets = await this.mailbox.read(at, at + SEARCHED + marker.length - 1);
      if (octets.includes(marker)) return true;
      if (octets.length < SEARCHED) return false;
    }
  }

  /**
   * Whether each sector up to the old end is as it was or as it will be before the cut. In phase 2 the marker
   * is there: without it this is OLD put back by another program, of which nothing may be cut off. But then
   * a sector after the new end may also be all NUL: ftruncate(2) clears the rest of the last block, which
   * fsync(2) writes before the new size, so that a power cut between leaves the old size, and no marker.
   */
  async matches(phase: 1 | 2): Promise<boolean> {
    const { from, newSize, oldSize } = this.header;
    const isCut = phase === 2;
    const start = isCut ? newSize : from;
    const oldFrom = isCut ? newSize + markerOf(this.header).length : from;
    for await (const run of sectorsOf(this.io, this.mailbox.fd, start, oldSize)) {
      if (!(await this.#runMatches(run.start, run.octets, oldFrom, isCut))) return false;
    }
    return true;
  }

  /** @param oldFrom a sector that begins before it is not as it was */
  async #runMatches(
    start: number,
    sectors: readonly Uint8Array[],
    oldFrom: number,
    orNul: boolean,
  ): Promise<boolean> {
    const end = start + sectors.reduce((sum, { length }) => sum + length, 0);
    const before = await this.#keptBefore(start, end);
    const table = await this.#tableOf(start, end);
    let after: Buffer | undefined;
    let at = start;
    for (const octets of sectors) {
      const place = at - start;
      const index = this.lost.indexOf(Math.floor(at / SECTOR));
      const was =
        at >= oldFrom &&
        (index === undefined
          ? before.subarray(place, place + octets.length).equals(octets)
          : sectorHash(octets).equals(table.hashOf(index)));
      if (!was && !(orNul && octets.every(octet => octet === 0))) {
        after ??= await this.#octetsAfter(start, end);
        if (!after.subarray(place, place + octets.length).equals(octets)) return false;
      }
      at += octets.length;
    }
    return true;
  }

  /** The journal's hashes of the lost sectors in [start, end). */
  async #tableOf(start: number, end: number): Promise<{ hashOf: (index: number) => Buffer }> {
    const indexes: number[] = [];
    for (let sector = Math.floor(start / SECTOR); sector * SECTOR < end; sector++) {
      const index = this.lost.indexOf(sector);
      if (index !== undefined) indexes.push(index);
    }
    const [first = 0] = indexes;
    const table = Buffer.alloc(indexes.length * SECTOR_HASH);
    await readFully(this.io, this.journal.fd, table, tableAt(this.header) + first * SECTOR_HASH);
    return {
      hashOf: index => table.subarray((index - first) * SECTOR_HASH, (index - first + 1) * SECTOR_HASH),
    };
  }

  /** [start, end) of OLD, as far as it is kept; of the rest any octets. */
  async #keptBefore(start: number, end: number): Promise<Buffer> {
    const octets = Buffer.alloc(end - start);
    let at = REDO_AT;
    for (const range of this.kept) {
      if (range.start >= end) break;
      if (range.end > start) await this.#place(octets, start, range.start, range.end, at);
      at += range.end - range.start;
    }
    return octets;
  }

  /** [start, end) as it stands before the cut: redo octets, marker, and what the marker shares a sector with. */
  async #octetsAfter(start: number, end: number): Promise<Buffer> {
    const { header } = this;
    const { from, newSize } = header;
    const octets = Buffer.alloc(end - start);
    const around = aroundRange(header);
    // In this order: each overlays the one before where they overlap.
    await this.#place(octets, start, around.start, around.end, AROUND_AT);
    await this.#place(octets, start, from, newSize, REDO_AT);
    const marker = markerOf(header);
    for (const [i, octet] of marker.entries()) {
      const at = newSize + i - start;
      if (at >= 0 && at < octets.length) octets[at] = octet;
    }
    return octets;
  }

  /** Copies what lies in both [start, start + octets.length) and [from, to), of which the journal has it `at`. */
  async #place(octets: Buffer, start: number, from: number, to: number, at: number): Promise<void> {
    const first = Math.max(start, from);
    const last = Math.min(start + octets.length, to);
    if (first >= last) return;
    await readFully(
      this.io,
      this.journal.fd,
      octets.subarray(first - start, last - start),
      at + first - from,
    );
  }
}

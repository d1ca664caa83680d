/**
 * What is done about a journal found beside a mailbox, by whoever has the mailbox locks first (design §7,
 * R0-R3). A journal is acted on only if it is whole, ours, and the mailbox is provably in a state that it
 * describes: each sector is as it was or as it will be. Anything else is a conflict with a program that
 * rewrote the mailbox: nothing is overwritten then, what the mailbox lacks is appended to it (`salvage.ts`),
 * and the journal is kept under another name.
 */
import type { Log } from '../log.js';
import {
  keepWithoutMailbox,
  leaveUnused,
  makeDurable,
  type RecoveryReport,
  setAsideForConflict,
} from './found-journal.js';
import { readFully, type SpoolIo } from './io.js';
import type { Journal } from './journal.js';
import {
  AROUND_AT,
  aroundRange,
  type JournalHeader,
  markerOf,
  redoAt,
  SECTOR,
  SECTOR_HASH,
  sectorHash,
  TABLE_AT,
} from './journal-format.js';
import type { MailboxFile } from './mailbox-file.js';
import type { PlanJournal } from './plan-journal.js';
import { recoverPlan } from './plan-recovery.js';
import { sectorsOf } from './ranges.js';
import { type Guard, Redo } from './redo.js';
import { salvage } from './salvage.js';

/** One line for what a sysadmin should know of. */
export function logRecovery(log: Log, user: string, report: RecoveryReport): void {
  switch (report.did) {
    case 'nothing':
      return;
    case 'finished':
      log.write('warn', '-', 'update-recovered', { user });
      return;
    case 'kept':
      log.write('error', '-', 'journal-kept', { user, path: report.path, reason: report.reason });
      return;
    case 'ignored':
      log.write('error', '-', 'journal-ignored', { user, path: report.path, reason: report.reason });
      return;
    case 'set-aside': {
      const { path, reason, salvaged } = report;
      log.write('error', '-', 'journal-set-aside', { user, path, reason, salvaged });
    }
  }
}

/** The journals of a mailbox: at most one of them holds anything. */
export interface Journals {
  readonly redo: Journal;
  /** For an UPDATE that found no room for the other. */
  readonly plan: PlanJournal;
}

/**
 * Finishes an interrupted UPDATE. Under the mailbox locks.
 * @param mailbox undefined when there is no mailbox file
 * @param guard throws when the mailbox locks are not ours any more
 * @throws Unavailable SYS/TEMP when the journal is of a newer version: then nobody may touch the mailbox
 */
export async function recover(
  mailbox: MailboxFile | undefined,
  { redo, plan }: Journals,
  guard: Guard,
): Promise<RecoveryReport> {
  const report = await recoverRedo(mailbox, redo, guard);
  if (report.did === 'kept') return report;
  const other = await recoverPlan(mailbox, plan, guard);
  return other.did === 'nothing' ? report : other;
}

async function recoverRedo(
  mailbox: MailboxFile | undefined,
  journal: Journal,
  guard: Guard,
): Promise<RecoveryReport> {
  const state = await journal.read();
  switch (state.is) {
    case 'none':
      return { did: 'nothing' };
    case 'unready':
      await journal.complete();
      return { did: 'nothing' };
    case 'uncommitted':
      await journal.finish();
      return { did: 'nothing' };
    case 'foreign':
    case 'newer':
    case 'torn':
      return leaveUnused(journal, state);
    case 'committed':
      return finish(mailbox, journal, state.header, state.phase, guard);
  }
}

async function finish(
  mailbox: MailboxFile | undefined,
  journal: Journal,
  header: JournalHeader,
  phase: 1 | 2,
  guard: Guard,
): Promise<RecoveryReport> {
  if (mailbox === undefined) return keepWithoutMailbox(journal);
  await makeDurable(journal, mailbox);
  const check = new MailboxCheck(mailbox, journal, header);
  const stat = await mailbox.stat();
  // The device is not compared: its number may change when the host starts, and the sectors prove more.
  if (stat.ino !== header.ino || stat.uid !== header.uid) {
    const reason = 'the mailbox file is another one';
    // In phase 2 all was in the old file, and what is in the new one is what its maker wanted of it.
    if (phase === 2) return setAsideForConflict(journal, reason, 0);
    return conflict(mailbox, journal, header, reason, guard);
  }
  const isShorter = stat.size < header.oldSize;
  if (isShorter || !(await check.matches(phase))) {
    // Already cut? Then what has come since stands where it belongs.
    if (phase === 2 && !(await check.hasMarker())) {
      await journal.finish();
      return { did: 'finished' };
    }
    const how = isShorter ? 'is shorter than it was' : 'was rewritten by another program';
    return conflict(mailbox, journal, header, `the mailbox ${how}`, guard);
  }
  const redo = new Redo(mailbox, journal, header, guard);
  if (phase === 1 || !(await redo.finishCut())) await redo.run();
  return { did: 'finished' };
}

async function conflict(
  mailbox: MailboxFile,
  journal: Journal,
  header: JournalHeader,
  reason: string,
  guard: Guard,
): Promise<RecoveryReport> {
  const start = redoAt(header);
  const redo = { fd: journal.fd, start, end: start + header.newSize - header.from };
  return setAsideForConflict(journal, reason, await salvage(mailbox, redo, guard));
}

/** Holds a mailbox file against what a journal says of it. */
class MailboxCheck {
  private readonly io: SpoolIo;

  constructor(
    private readonly mailbox: MailboxFile,
    private readonly journal: Journal,
    private readonly header: JournalHeader,
  ) {
    this.io = mailbox.io;
  }

  /** Whether our marker stands at the new end, so that the cut has not been made. */
  async hasMarker(): Promise<boolean> {
    const { newSize } = this.header;
    const marker = markerOf(this.header);
    return Buffer.from(await this.mailbox.read(newSize, newSize + marker.length)).equals(marker);
  }

  /**
   * Whether each sector up to the old end is as it was or as it will be before the cut. In phase 2 a sector
   * after the new end may also be all NUL: ftruncate(2) clears the rest of the last block, which fsync(2)
   * writes before the new size, so that a power cut between leaves the old size, and no marker.
   */
  async matches(phase: 1 | 2): Promise<boolean> {
    const { from, newSize, oldSize } = this.header;
    const start = phase === 1 ? from : newSize;
    for await (const run of sectorsOf(this.io, this.mailbox.fd, start, oldSize)) {
      if (!(await this.#runMatches(run.start, run.octets, phase === 2))) return false;
    }
    return true;
  }

  async #runMatches(start: number, sectors: readonly Uint8Array[], orNul: boolean): Promise<boolean> {
    const table = await this.#tableAt(start, sectors.length);
    const end = start + sectors.reduce((sum, { length }) => sum + length, 0);
    let after: Buffer | undefined;
    let at = start;
    for (const [i, octets] of sectors.entries()) {
      // The table knows a sector from its beginning, or from where the journal begins.
      const known = at % SECTOR === 0 || at === this.header.from;
      const was = known && sectorHash(octets).equals(table.subarray(i * SECTOR_HASH, (i + 1) * SECTOR_HASH));
      if (!was && !(orNul && octets.every(octet => octet === 0))) {
        after ??= await this.#octetsAfter(start, end);
        if (!after.subarray(at - start, at - start + octets.length).equals(octets)) return false;
      }
      at += octets.length;
    }
    return true;
  }

  /** The hashes of `count` sectors from the one that holds `offset` on. */
  async #tableAt(offset: number, count: number): Promise<Buffer> {
    const table = Buffer.alloc(count * SECTOR_HASH);
    const index = Math.floor(offset / SECTOR) - Math.floor(this.header.from / SECTOR);
    await readFully(this.io, this.journal.fd, table, TABLE_AT + index * SECTOR_HASH);
    return table;
  }

  /** [start, end) as it stands before the cut: redo octets, marker, and what the marker shares a sector with. */
  async #octetsAfter(start: number, end: number): Promise<Buffer> {
    const { header } = this;
    const { from, newSize } = header;
    const octets = Buffer.alloc(end - start);
    const around = aroundRange(header);
    // In this order: each overlays the one before where they overlap.
    await this.#place(octets, start, around.start, around.end, AROUND_AT);
    await this.#place(octets, start, from, newSize, redoAt(header));
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

/**
 * The octets of a journal, written from a plan and read back without belief. Invariant: a record is either
 * whole (every part agrees with its checksum) or it is no record. Bounded memory, whatever is moved.
 */
import { randomBytes } from 'node:crypto';
import type { Range } from '../mbox/compaction.js';
import { Checksum } from './checksum.js';
import type { FileStat, SpoolIo } from './io.js';
import { readFully, writeFully } from './io.js';
import {
  AROUND_AT,
  aroundRange,
  decodeHeader,
  encodeHeader,
  HEADER_AT,
  isPhaseRecord,
  type JournalHeader,
  NONCE,
  PARTS,
  type Part,
  PHASE_AT,
  REDO_AT,
  rangesAt,
  SECTOR,
  tableAt,
} from './journal-format.js';
import { decodeRanges, encodeRanges, LostSectors, octetsKept } from './kept-ranges.js';
import { PartWriter } from './part-writer.js';
import { alignedChunks, type Chunk, MOVE_CHUNK, octetsOf, type Piece, sectorBorders } from './ranges.js';
import { hashSector, SECTOR_HASH } from './sector-hash.js';

/** Octets of the table written at a time. */
const TABLE_CHUNK = 64 * 1024;

/** What a new journal is made from. */
export interface JournalPlan {
  readonly mailboxFd: number;
  readonly stat: Pick<FileStat, 'ino' | 'uid'>;
  /** Offset of the first octet that changes. */
  readonly from: number;
  /** Octets of the mailbox file now. */
  readonly oldSize: number;
  /** What of it follows `from` afterwards, in file order. */
  readonly kept: readonly Range[];
}

/** A journal that is whole. */
export interface CommittedJournal {
  readonly header: JournalHeader;
  readonly kept: readonly Range[];
}

export type JournalState =
  | { readonly is: 'none' }
  /** Being made, or being written when its writer was killed: never committed, and of no use to anyone. */
  | { readonly is: 'unready' | 'uncommitted' }
  | { readonly is: 'torn' | 'other' | 'foreign'; readonly reason: string }
  | ({ readonly is: 'committed'; readonly phase: 1 | 2 } & CommittedJournal);

type Draft = Omit<JournalHeader, 'checksums'>;

/** Writes everything but the phase, which is zero, and the header last. */
export async function writeRecord(io: SpoolIo, fd: number, plan: JournalPlan): Promise<JournalHeader> {
  const { from, oldSize, kept, mailboxFd } = plan;
  const ranges = encodeRanges(from, kept);
  const draft: Draft = {
    ino: plan.stat.ino,
    uid: plan.stat.uid,
    from,
    oldSize,
    newSize: from + octetsKept(kept),
    rangesLength: ranges.length,
    nonce: randomBytes(NONCE),
  };
  await io.truncate(fd, 0);
  const around = checksumOf(draft, 'around');
  for await (const octets of octetsOf(io, [{ fd: mailboxFd, ...aroundRange(draft) }])) {
    around.update(octets);
    await writeFully(io, fd, octets, AROUND_AT);
  }
  const moved = await writeMoved(io, fd, draft, plan);
  await writeFully(io, fd, ranges, rangesAt(draft));
  const checksum = checksumOf(draft, 'ranges');
  checksum.update(ranges);
  const checksums = { around: around.digest(), ranges: checksum.digest(), ...moved };
  const header: JournalHeader = { ...draft, checksums };
  // Written now, so that the phase record later needs no space.
  await writeFully(io, fd, Buffer.alloc(SECTOR), PHASE_AT);
  await writeFully(io, fd, encodeHeader(header), HEADER_AT);
  return header;
}

function checksumOf({ nonce }: Pick<JournalHeader, 'nonce'>, part: Part): Checksum {
  return new Checksum(nonce, PARTS.indexOf(part));
}

/** Writes redo and table, in one pass through OLD. @returns their checksums */
async function writeMoved(
  io: SpoolIo,
  fd: number,
  draft: Draft,
  { mailboxFd, from, oldSize, kept }: JournalPlan,
): Promise<{ redo: Uint8Array; table: Uint8Array }> {
  const lost = new LostSectors(from, oldSize, kept);
  const octets = Math.min(MOVE_CHUNK, draft.newSize - from);
  const redo = new PartWriter(io, fd, REDO_AT, checksumOf(draft, 'redo'), octets);
  const hashes = Math.min(TABLE_CHUNK, lost.count * SECTOR_HASH);
  const table = new PartWriter(io, fd, tableAt(draft), checksumOf(draft, 'table'), hashes);
  let next = 0;
  try {
    for await (const chunk of alignedChunks(io, { fd: mailboxFd, start: from, end: oldSize })) {
      const end = chunk.start + chunk.octets.length;
      await table.push(hashesOf(chunk, lost));
      // The last range may go on in the next chunk.
      for (; next < kept.length && kept[next]!.start < end; next++) {
        const start = Math.max(kept[next]!.start, chunk.start) - chunk.start;
        await redo.push(chunk.octets.subarray(start, kept[next]!.end - chunk.start));
        if (kept[next]!.end > end) break;
      }
    }
    return { redo: await redo.end(), table: await table.end() };
  } finally {
    await redo.settled();
    await table.settled();
  }
}

/** The hashes of those sectors of a chunk that are lost. */
function hashesOf({ start, octets }: Chunk, lost: LostSectors): Buffer {
  const hashes = Buffer.allocUnsafe((Math.ceil(octets.length / SECTOR) + 1) * SECTOR_HASH);
  const view = new DataView(octets.buffer, octets.byteOffset, octets.length);
  let count = 0;
  for (const sector of sectorBorders(start, start + octets.length)) {
    if (lost.indexOf(Math.floor(sector.start / SECTOR)) === undefined) continue;
    hashSector(view, sector.start - start, sector.end - start, hashes, count++ * SECTOR_HASH);
  }
  return hashes.subarray(0, count * SECTOR_HASH);
}

/** Reads a record back and checks all of it. @param size octets of the journal file, more than 0 */
export async function readRecord(io: SpoolIo, fd: number, size: number): Promise<JournalState> {
  const head = Buffer.alloc(2 * SECTOR);
  await readFully(io, fd, head, HEADER_AT);
  // It is written last, and is on the disk before anything is carried out.
  if (head.subarray(0, SECTOR).every(octet => octet === 0)) return { is: 'uncommitted' };
  const header = decodeHeader(head.subarray(0, SECTOR));
  if (header === 'other') return { is: 'other', reason: 'it was written by another version' };
  if (header === 'torn') return { is: 'torn', reason: 'its header was never completed' };
  const { from, oldSize, newSize, rangesLength } = header;
  if (from >= newSize || newSize >= oldSize) return { is: 'torn', reason: 'its header makes no sense' };

  const isWhole = async (part: Part, start: number, length: number) =>
    start + length <= size && (await agrees(io, { fd, start, end: start + length }, header, part));
  const around = aroundRange(header);
  if (!(await isWhole('around', AROUND_AT, around.end - around.start)))
    return { is: 'torn', reason: 'the octets around the marker are incomplete' };
  const kept = (await isWhole('ranges', rangesAt(header), rangesLength))
    ? decodeRanges(from, oldSize, await octetsAt(io, fd, rangesAt(header), rangesLength))
    : undefined;
  if (kept === undefined || from + octetsKept(kept) !== newSize)
    return { is: 'torn', reason: 'the ranges are incomplete' };
  const { count } = new LostSectors(from, oldSize, kept);
  if (!(await isWhole('table', tableAt(header), count * SECTOR_HASH)))
    return { is: 'torn', reason: 'the table is incomplete' };
  if (!(await isWhole('redo', REDO_AT, newSize - from)))
    return { is: 'torn', reason: 'the redo is incomplete' };
  const phase = isPhaseRecord(head.subarray(SECTOR), header.nonce) ? 2 : 1;
  return { is: 'committed', header, kept, phase };
}

async function octetsAt(io: SpoolIo, fd: number, start: number, length: number): Promise<Buffer> {
  const octets = Buffer.alloc(length);
  await readFully(io, fd, octets, start);
  return octets;
}

async function agrees(io: SpoolIo, piece: Piece, header: JournalHeader, part: Part): Promise<boolean> {
  const checksum = checksumOf(header, part);
  for await (const octets of octetsOf(io, [piece])) checksum.update(octets);
  return checksum.digest().equals(header.checksums[part]);
}

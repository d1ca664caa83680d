/**
 * The octets of a journal, written from a plan and read back without belief. Invariant: a record is either
 * whole (every part agrees with its SHA-256) or it is no record. Bounded memory, whatever is moved.
 */
import { createHash, randomBytes } from 'node:crypto';
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
  PHASE_AT,
  redoAt,
  SECTOR,
  SECTOR_HASH,
  sectorCount,
  sectorHash,
  TABLE_AT,
} from './journal-format.js';
import { lengthOf, octetsOf, type Piece, sectorsOf } from './ranges.js';

/** What a new journal is made from. */
export interface JournalPlan {
  readonly mailboxFd: number;
  readonly stat: Pick<FileStat, 'ino' | 'uid'>;
  /** Offset of the first octet that changes. */
  readonly from: number;
  /** Octets of the mailbox file now. */
  readonly oldSize: number;
  /** What follows `from` afterwards. */
  readonly redo: readonly Piece[];
}

export type JournalState =
  | { readonly is: 'none' }
  /** Being made, or being written when its writer was killed: never committed, and of no use to anyone. */
  | { readonly is: 'unready' | 'uncommitted' }
  | { readonly is: 'torn' | 'newer' | 'foreign'; readonly reason: string }
  | { readonly is: 'committed'; readonly header: JournalHeader; readonly phase: 1 | 2 };

/** Writes everything but the phase, which is zero, and the header last. */
export async function writeRecord(io: SpoolIo, fd: number, plan: JournalPlan): Promise<JournalHeader> {
  const { from, oldSize } = plan;
  const newSize = from + lengthOf(plan.redo);
  await io.truncate(fd, 0);
  const aroundSha = createHash('sha256');
  const { start, end } = aroundRange({ newSize, oldSize });
  for await (const octets of octetsOf(io, [{ fd: plan.mailboxFd, start, end }])) {
    aroundSha.update(octets);
    await writeFully(io, fd, octets, AROUND_AT);
  }
  const tableSha = await writeTable(io, fd, plan);
  const redoSha = createHash('sha256');
  let at = redoAt(plan);
  for await (const octets of octetsOf(io, plan.redo)) {
    redoSha.update(octets);
    await writeFully(io, fd, octets, at);
    at += octets.length;
  }
  const header: JournalHeader = {
    ino: plan.stat.ino,
    uid: plan.stat.uid,
    from,
    oldSize,
    newSize,
    nonce: randomBytes(NONCE),
    aroundSha: aroundSha.digest(),
    tableSha,
    redoSha: redoSha.digest(),
  };
  // Written now, so that the phase record later needs no space.
  await writeFully(io, fd, Buffer.alloc(SECTOR), PHASE_AT);
  await writeFully(io, fd, encodeHeader(header), HEADER_AT);
  return header;
}

async function writeTable(io: SpoolIo, fd: number, plan: JournalPlan): Promise<Uint8Array> {
  const sha = createHash('sha256');
  let at = TABLE_AT;
  for await (const { octets } of sectorsOf(io, plan.mailboxFd, plan.from, plan.oldSize)) {
    const table = Buffer.concat(octets.map(sectorHash));
    sha.update(table);
    await writeFully(io, fd, table, at);
    at += table.length;
  }
  return sha.digest();
}

/** Reads a record back and checks all of it. @param size octets of the journal file, more than 0 */
export async function readRecord(io: SpoolIo, fd: number, size: number): Promise<JournalState> {
  const head = Buffer.alloc(2 * SECTOR);
  await readFully(io, fd, head, HEADER_AT);
  // It is written last, and is on the disk before anything is carried out.
  if (head.subarray(0, SECTOR).every(octet => octet === 0)) return { is: 'uncommitted' };
  const header = decodeHeader(head.subarray(0, SECTOR));
  if (header === 'newer') return { is: 'newer', reason: 'it was written by a newer version' };
  if (header === 'torn') return { is: 'torn', reason: 'its header was never completed' };
  if (header.newSize >= header.oldSize) return { is: 'torn', reason: 'its header makes no sense' };
  const redo = redoAt(header);
  const around = aroundRange(header);
  const parts: [string, Uint8Array, number, number][] = [
    ['the octets around the marker', header.aroundSha, AROUND_AT, around.end - around.start],
    ['the table', header.tableSha, TABLE_AT, sectorCount(header) * SECTOR_HASH],
    ['the redo', header.redoSha, redo, header.newSize - header.from],
  ];
  for (const [what, sha, start, length] of parts) {
    if (length < 0 || start + length > size || !(await agrees(io, { fd, start, end: start + length }, sha))) {
      return { is: 'torn', reason: `${what} is incomplete` };
    }
  }
  const phase = isPhaseRecord(head.subarray(SECTOR), header.nonce) ? 2 : 1;
  return { is: 'committed', header, phase };
}

async function agrees(io: SpoolIo, piece: Piece, sha: Uint8Array): Promise<boolean> {
  const hash = createHash('sha256');
  for await (const octets of octetsOf(io, [piece])) hash.update(octets);
  return hash.digest().equals(sha);
}

/**
 * The plan journal as octets: the journal of an UPDATE for which the disk has no room. It holds no redo
 * octets, only which ranges of the mailbox file are kept, and which step of moving them down is being made,
 * so it fits into a file of fixed size that was made while there was room. Numbers are little-endian
 * 64-bit.
 *
 *       0  header, one sector, with a SHA-256 of itself; all zero: no plan
 *     512  step record 0, one sector, with a SHA-256 of itself
 *    1024  step record 1: they are written in turn, so that the last step but one outlives a torn one
 *    1536  the kept ranges: octets skipped, octets kept, octets skipped, ... each as 7-bit groups
 *       …  `step` octets that belong to record 0, and after them those of record 1
 *
 * A record describes the mailbox file while its step is made: below `at` all is as it will be, and on the
 * disk, which `done` proves; [at, at + length) is any mix of old and new; from there to `tail` nothing was
 * changed yet, which `rest` proves. What kept octets there are besides stand behind `tail`.
 */
import { hash } from 'node:crypto';
import { NONCE, SECTOR } from './journal-format.js';

/** How a plan journal is divided. Octets, multiples of a sector. */
export interface PlanLayout {
  /** For the kept ranges. */
  readonly ranges: number;
  /** For what a step keeps safe while it is made; twice. */
  readonly step: number;
}

/** 64 KiB in all: room for thousands of ranges, and some fsync(2)s a megabyte where little is freed. */
export const USUAL_LAYOUT: PlanLayout = { ranges: 14_848, step: 24_576 };
/** One block, for a disk that has no more: slower, and for fewer ranges. */
export const SMALL_LAYOUT: PlanLayout = { ranges: 512, step: 1024 };

export const RECORD_AT: readonly number[] = [SECTOR, 2 * SECTOR];
export const RANGES_AT = 3 * SECTOR;

/** Where the octets of a record are. */
export function keptAt({ ranges, step }: PlanLayout, record: number): number {
  return RANGES_AT + ranges + record * step;
}

export function planOctets(layout: PlanLayout): number {
  return keptAt(layout, 2);
}

const MAGIC = Buffer.from('mbox-pop3d-plan\n');
const STEP_MAGIC = Buffer.from('mbox-pop3d-step\n');
const VERSION = 2n;
const SHA256 = 32;
export const DIGEST = 16;

export interface PlanHeader {
  readonly layout: PlanLayout;
  readonly ino: bigint;
  readonly uid: number;
  /** Offset of the first octet that changes. */
  readonly from: number;
  /** Octets of the mailbox file when the plan was made. */
  readonly oldSize: number;
  /** Octets of the encoded ranges. */
  readonly rangesLength: number;
  readonly rangesSha: Uint8Array;
  /** Random; ties header and records together. */
  readonly nonce: Uint8Array;
}

/** `copy`: its octets stand further up; `save`: in the journal; `clear`: they are NUL; `cut`: cut off. */
export const STEP_KINDS = ['copy', 'save', 'clear', 'cut'] as const;
export type StepKind = (typeof STEP_KINDS)[number];

export interface Step {
  readonly sequence: number;
  readonly kind: StepKind;
  readonly at: number;
  readonly length: number;
  /** Octets of the mailbox file when the step began; what has come since stands behind. */
  readonly tail: number;
  /** Digest of the mailbox file from the plan's `from` to `at`. */
  readonly done: Uint8Array;
  /** The same from the end of the step to `tail`. */
  readonly rest: Uint8Array;
  /** Octets kept in the journal for this step: those of a `save`; of a `clear`, hashes of what was there. */
  readonly savedLength: number;
  readonly savedSha: Uint8Array;
}

export function encodePlanHeader(header: PlanHeader): Buffer {
  const { layout, ino, uid, from, oldSize, rangesLength } = header;
  const numbers = [VERSION, ino, uid, from, oldSize, rangesLength, layout.ranges, layout.step];
  return sealed(MAGIC, numbers, [header.nonce, header.rangesSha]);
}

export function decodePlanHeader(sector: Buffer): PlanHeader | 'none' | 'other' | 'torn' {
  // Wiped, if only in part: the magic goes first.
  if (sector[0] === 0) return 'none';
  if (!sector.subarray(0, MAGIC.length).equals(MAGIC)) return 'torn';
  if (sector.readBigUInt64LE(16) !== VERSION) return 'other';
  if (!isSealed(sector)) return 'torn';
  const number = (i: number) => Number(sector.readBigUInt64LE(16 + 8 * i));
  return {
    layout: { ranges: number(6), step: number(7) },
    ino: sector.readBigUInt64LE(24),
    uid: number(2),
    from: number(3),
    oldSize: number(4),
    rangesLength: number(5),
    nonce: Uint8Array.from(sector.subarray(80, 80 + NONCE)),
    rangesSha: Uint8Array.from(sector.subarray(80 + NONCE, 80 + NONCE + SHA256)),
  };
}

export function encodeStep(step: Step, nonce: Uint8Array): Buffer {
  const { sequence, kind, at, length, tail, savedLength } = step;
  const numbers = [sequence, STEP_KINDS.indexOf(kind), at, length, tail, savedLength];
  return sealed(STEP_MAGIC, numbers, [nonce, step.rest, step.savedSha, step.done]);
}

/** @returns undefined when it is no record of the plan with this nonce, or was torn */
export function decodeStep(sector: Buffer, nonce: Uint8Array): Step | undefined {
  if (!sector.subarray(0, STEP_MAGIC.length).equals(STEP_MAGIC) || !isSealed(sector)) return undefined;
  if (!sector.subarray(64, 64 + NONCE).equals(nonce)) return undefined;
  const number = (i: number) => Number(sector.readBigUInt64LE(16 + 8 * i));
  const kind = STEP_KINDS[number(1)];
  if (kind === undefined) return undefined;
  const restAt = 64 + NONCE;
  return {
    sequence: number(0),
    kind,
    at: number(2),
    length: number(3),
    tail: number(4),
    savedLength: number(5),
    rest: Uint8Array.from(sector.subarray(restAt, restAt + DIGEST)),
    savedSha: Uint8Array.from(sector.subarray(restAt + DIGEST, restAt + DIGEST + SHA256)),
    done: Uint8Array.from(sector.subarray(restAt + DIGEST + SHA256, restAt + 2 * DIGEST + SHA256)),
  };
}

function sealed(magic: Buffer, numbers: readonly (number | bigint)[], octets: readonly Uint8Array[]): Buffer {
  const sector = Buffer.alloc(SECTOR);
  magic.copy(sector, 0);
  for (const [i, value] of numbers.entries()) sector.writeBigUInt64LE(BigInt(value), 16 + 8 * i);
  sector.set(Buffer.concat(octets), 16 + 8 * numbers.length);
  sector.set(sha256(sector.subarray(0, SECTOR - SHA256)), SECTOR - SHA256);
  return sector;
}

function isSealed(sector: Buffer): boolean {
  return sha256(sector.subarray(0, SECTOR - SHA256)).equals(sector.subarray(SECTOR - SHA256));
}

export function sha256(octets: Uint8Array): Buffer {
  return hash('sha256', octets, 'buffer');
}

/**
 * The journal of one UPDATE as octets. It says how to turn the mailbox file from OLD into NEW without
 * reading OLD, and how to recognise both, so that recovery acts only on a file that is provably in the
 * state described. All numbers are little-endian 64-bit.
 *
 *       0  header, one sector, with a SHA-256 of itself, and a checksum of each of the other parts
 *     512  phase, one sector: all zero, or the record that the redo is on the disk and the cut may follow
 *    1024  OLD from the sector boundary at or before NEW's end on: the octets around the marker
 *    4096  the octets that follow `from` in NEW: those of OLD that are kept, in file order
 *       …  on the next sector boundary: which ranges of OLD these are
 *       …  on the next: a 64-bit hash of each sector of OLD from `from` to `oldSize`, as far as it lies
 *          inside, that is not wholly kept
 *
 * Words: from = offset of the first deleted octet; oldSize, newSize = octets of OLD and NEW. The marker is
 * what we write into the mailbox file at newSize, where junk follows until the cut: its first octet is
 * neither an F or a line end, so no delivery looks like it, nor NUL, so no tail lost by the disk does.
 */
import { hash } from 'node:crypto';
import { CHECKSUM } from './checksum.js';

/** The unit the disk writes whole. Octets. */
export const SECTOR = 512;
export const HEADER_AT = 0;
export const PHASE_AT = 512;
export const AROUND_AT = 1024;
/** Where a page begins: most of the journal is written from here on. */
export const REDO_AT = 4096;

const MAGIC = Buffer.from('mbox-pop3d-jrnl\n');
const PHASE_MAGIC = Buffer.from('mbox-pop3d-cut\n\n');
const VERSION = 2n;
const SHA256 = 32;
/** In the header, behind magic and numbers. */
const NONCE_AT = 72;
/** Octets of a nonce, and of the marker made from it. */
export const NONCE = CHECKSUM;

/** What stands behind the phase, in the order of their checksums in the header. */
export const PARTS = ['around', 'redo', 'ranges', 'table'] as const;
export type Part = (typeof PARTS)[number];

export interface JournalHeader {
  readonly ino: bigint;
  readonly uid: number;
  readonly from: number;
  readonly oldSize: number;
  readonly newSize: number;
  /** Octets of the ranges as they are written down. */
  readonly rangesLength: number;
  /** Random; ties journal, phase record and marker together, and is the key of the checksums. */
  readonly nonce: Uint8Array;
  readonly checksums: Readonly<Record<Part, Uint8Array>>;
}

/** One sector. */
export function encodeHeader(header: JournalHeader): Buffer {
  const sector = Buffer.alloc(SECTOR);
  MAGIC.copy(sector, 0);
  const numbers = [
    VERSION,
    header.ino,
    BigInt(header.uid),
    BigInt(header.from),
    BigInt(header.oldSize),
    BigInt(header.newSize),
    BigInt(header.rangesLength),
  ];
  for (const [i, value] of numbers.entries()) sector.writeBigUInt64LE(value, 16 + 8 * i);
  const checksums = PARTS.map(part => header.checksums[part]);
  sector.set(Buffer.concat([header.nonce, ...checksums]), NONCE_AT);
  sector.set(sha256(sector.subarray(0, SECTOR - SHA256)), SECTOR - SHA256);
  return sector;
}

/** What a journal's first sector says: `torn` was never committed (or has rotted), `other` is not for us. */
export function decodeHeader(sector: Uint8Array): JournalHeader | 'torn' | 'other' {
  const bytes = Buffer.from(sector.buffer, sector.byteOffset, sector.byteLength);
  if (bytes.length < SECTOR || !bytes.subarray(0, 16).equals(MAGIC)) return 'torn';
  if (bytes.readBigUInt64LE(16) !== VERSION) return 'other';
  if (!sha256(bytes.subarray(0, SECTOR - SHA256)).equals(bytes.subarray(SECTOR - SHA256))) return 'torn';
  const octets = (at: number, length: number) => Uint8Array.from(bytes.subarray(at, at + length));
  const checksum = (part: Part) => octets(NONCE_AT + NONCE + PARTS.indexOf(part) * CHECKSUM, CHECKSUM);
  return {
    ino: bytes.readBigUInt64LE(24),
    uid: Number(bytes.readBigUInt64LE(32)),
    from: Number(bytes.readBigUInt64LE(40)),
    oldSize: Number(bytes.readBigUInt64LE(48)),
    newSize: Number(bytes.readBigUInt64LE(56)),
    rangesLength: Number(bytes.readBigUInt64LE(64)),
    nonce: octets(NONCE_AT, NONCE),
    checksums: {
      around: checksum('around'),
      redo: checksum('redo'),
      ranges: checksum('ranges'),
      table: checksum('table'),
    },
  };
}

/** The phase sector once the redo is on the disk. */
export function encodePhase(nonce: Uint8Array): Buffer {
  const sector = Buffer.alloc(SECTOR);
  PHASE_MAGIC.copy(sector, 0);
  sector.set(nonce, 16);
  sector.set(sha256(sector.subarray(0, SECTOR - SHA256)), SECTOR - SHA256);
  return sector;
}

/** Whether the sector is the phase record of this journal. Anything else, torn or old, is phase 1. */
export function isPhaseRecord(sector: Uint8Array, nonce: Uint8Array): boolean {
  return encodePhase(nonce).equals(sector);
}

/** What we write at `newSize`: as much of the marker as the old end leaves room for. */
export function markerOf(header: Pick<JournalHeader, 'nonce' | 'newSize' | 'oldSize'>): Uint8Array {
  const marker = Uint8Array.from(header.nonce);
  marker[0] = 0x01;
  return marker.subarray(0, Math.min(NONCE, header.oldSize - header.newSize));
}

/** Offset in the journal of the kept ranges. */
export function rangesAt({ from, newSize }: Pick<JournalHeader, 'from' | 'newSize'>): number {
  return wholeSectors(REDO_AT + newSize - from);
}

/** Offset in the journal of the hashes of sectors. */
export function tableAt(header: Pick<JournalHeader, 'from' | 'newSize' | 'rangesLength'>): number {
  return wholeSectors(rangesAt(header) + header.rangesLength);
}

function wholeSectors(octets: number): number {
  return Math.ceil(octets / SECTOR) * SECTOR;
}

/** The part of OLD kept at AROUND_AT: whole sectors that the marker may share with other octets. */
export function aroundRange({ newSize, oldSize }: Pick<JournalHeader, 'newSize' | 'oldSize'>): {
  start: number;
  end: number;
} {
  const start = Math.floor(newSize / SECTOR) * SECTOR;
  return { start, end: Math.min(oldSize, start + 2 * SECTOR) };
}

function sha256(octets: Uint8Array): Buffer {
  return hash('sha256', octets, 'buffer');
}

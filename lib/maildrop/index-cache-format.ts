/**
 * An index as octets, for `STATE/USER/index`: a header, the rows as they are in memory, and the identities of
 * the first messages if they are known. It is read back in one piece, which the index then uses as it is.
 *
 * Invariant: whatever the octets are, decoding them ends quickly, in rows that are possible for a file of that
 * size, or in nothing. That they are true of the file is for `index-cache.ts` to find out.
 */
import { crc32 } from 'node:zlib';
import { joinRows } from '../mbox/index-rows.js';
import type { Kernel } from '../mbox/kernel/kernel.js';
import { MailboxIndex, OFFSETS, SMALL } from '../mbox/mailbox-index.js';
import { possibleIndex } from '../mbox/possible-index.js';
import { IDENTITY } from '../mbox/unique-id.js';
import type { FileStat } from './io.js';

/** What is known of a mailbox file, and of which state of it. */
export interface KeptIndex {
  readonly index: MailboxIndex;
  /** 16 octets for each of the first messages, as many as are known. */
  readonly identities: Buffer;
  /** When all of it was read in one go, and long enough after the last change to tell the next one by. */
  readonly proven: boolean;
  /** The state of the file; its size is that of the index. */
  readonly stat: Pick<FileStat, 'dev' | 'ino' | 'mtimeNs' | 'ctimeNs'>;
  /** When that state was looked at, milliseconds since 1970. */
  readonly seenAt: number;
  /** Octets behind those it was decoded of that are its own, too: for `joinTail`. */
  readonly room?: number;
}

const MAGIC = Buffer.from('mbox-pop3d index', 'latin1');
const VERSION = 1;
/** Rows are in the byte order of the host. */
const BYTE_ORDER = 0x01020304;

const ROW = OFFSETS * Float64Array.BYTES_PER_ELEMENT + SMALL * Uint32Array.BYTES_PER_ELEMENT;
const HEADER = 96;
const AT = { version: 16, order: 20, crc: 24, flags: 28, rows: 32, identities: 36, dev: 40, ino: 48 };
const AT_STAT = { size: 56, mtime: 64, ctime: 72, seenAt: 80 };
const HIDDEN = 1;
const PROVEN = 2;

/** What `joinTail` wants for the deliveries since a session, if they are not many. Octets. */
export const ROOM = 64 * ROW;

/** From_ line, line end, and the empty line before the next: no message is shorter. Octets. */
const SHORTEST = 24;

/** Octets that the index of a mailbox file of `size` octets can have at most. */
export function mostOctets(size: number): number {
  return HEADER + (1 + Math.floor(size / SHORTEST)) * (ROW + IDENTITY);
}

/** Octets that `encodeIndex` makes. */
function octetsFor(rows: number, identities: number): number {
  return HEADER + rows * ROW + identities * IDENTITY;
}

/** @param octetsOf where they go: memory of that size, aligned for rows, which may say anything before */
export function encodeIndex(
  { index, identities, proven, stat, seenAt }: KeptIndex,
  octetsOf: (size: number) => Buffer = Buffer.alloc,
): Buffer {
  const rows = index.small.length / SMALL;
  const known = identities.length / IDENTITY;
  const octets = octetsOf(octetsFor(rows, known));
  octets.fill(0, 0, HEADER);
  octets.set(MAGIC);
  octets.writeUInt32LE(VERSION, AT.version);
  new Uint32Array(octets.buffer, octets.byteOffset + AT.order, 1)[0] = BYTE_ORDER;
  octets.writeUInt32LE(index.hidden * HIDDEN + (proven ? PROVEN : 0), AT.flags);
  octets.writeUInt32LE(rows, AT.rows);
  octets.writeUInt32LE(known, AT.identities);
  octets.writeBigUInt64LE(BigInt.asUintN(64, stat.dev), AT.dev);
  octets.writeBigUInt64LE(BigInt.asUintN(64, stat.ino), AT.ino);
  octets.writeDoubleLE(index.size, AT_STAT.size);
  octets.writeBigInt64LE(stat.mtimeNs, AT_STAT.mtime);
  octets.writeBigInt64LE(stat.ctimeNs, AT_STAT.ctime);
  octets.writeDoubleLE(seenAt, AT_STAT.seenAt);
  const { offsets, small } = columnsIn(octets, rows);
  offsets.set(index.offsets);
  small.set(index.small);
  octets.set(identities, HEADER + rows * ROW);
  octets.writeUInt32LE(crc32(octets.subarray(AT.flags)), AT.crc);
  return octets;
}

/**
 * An index that uses what `encodeIndex` of it has made, in memory of its own: whoever still has an index in that of
 * `octets` has an empty one from now on.
 */
export function moved(
  { index, identities, ...kept }: KeptIndex,
  octets: Buffer,
): { readonly kept: KeptIndex; readonly octets: Buffer } {
  const rows = index.small.length / SMALL;
  const { size, hidden, totalOctets } = index;
  const length = octetsFor(rows, identities.length / IDENTITY);
  const own = Buffer.from(structuredClone(octets.buffer, { transfer: [octets.buffer as ArrayBuffer] }));
  const { offsets, small } = columnsIn(own, rows);
  return {
    kept: {
      ...kept,
      index: new MailboxIndex(offsets, small, size, hidden, totalOctets),
      identities: own.subarray(HEADER + rows * ROW, length),
    },
    octets: own,
  };
}

/**
 * @param room octets behind them, in the same memory, that nobody else uses
 * @returns undefined for what `encodeIndex` of this version on this host has not made
 */
export function decodeIndex(octets: Buffer, kernel?: Kernel, room = 0): KeptIndex | undefined {
  if (octets.length < HEADER || !octets.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  if (octets.readUInt32LE(AT.version) !== VERSION) return undefined;
  if (new Uint32Array(octets.buffer, octets.byteOffset + AT.order, 1)[0] !== BYTE_ORDER) return undefined;
  const flags = octets.readUInt32LE(AT.flags);
  const rows = octets.readUInt32LE(AT.rows);
  const known = octets.readUInt32LE(AT.identities);
  if (octets.length !== octetsFor(rows, known)) return undefined;
  if (octets.readUInt32LE(AT.crc) !== crc32(octets.subarray(AT.flags))) return undefined;
  // Whoever can write the file can write that checksum, too.
  const hidden = (flags & HIDDEN) === 0 ? 0 : 1;
  const size = octets.readDoubleLE(AT_STAT.size);
  const seenAt = octets.readDoubleLE(AT_STAT.seenAt);
  const { offsets, small } = columnsIn(octets, rows);
  if (!Number.isSafeInteger(size) || !Number.isFinite(seenAt)) return undefined;
  if (rows < hidden || known > rows - hidden) return undefined;
  const index = possibleIndex(offsets, small, size, hidden, kernel);
  if (index === undefined) return undefined;
  return {
    index,
    identities: octets.subarray(HEADER + rows * ROW),
    proven: (flags & PROVEN) !== 0,
    stat: {
      dev: octets.readBigUInt64LE(AT.dev),
      ino: octets.readBigUInt64LE(AT.ino),
      mtimeNs: octets.readBigInt64LE(AT_STAT.mtime),
      ctimeNs: octets.readBigInt64LE(AT_STAT.ctime),
    },
    seenAt,
    room,
  };
}

/**
 * The rows before `row` and the identities of their messages, then the rows of a scan that began at `at`, where
 * that row starts. Where there is room, in the memory of `kept`, which is not to be used any more: that of a large
 * mailbox takes longer to get from the system than to fill.
 */
export function joinTail(
  { index, identities, room = 0 }: KeptIndex,
  row: number,
  tail: MailboxIndex,
  at: number,
): Pick<KeptIndex, 'index' | 'identities'> {
  const had = index.small.length / SMALL;
  const rows = row + tail.small.length / SMALL;
  const known = identities.subarray(0, (row - index.hidden) * IDENTITY);
  if ((rows - had) * ROW > room) return { index: joinRows(index, row, tail, at), identities: known };
  const { buffer, byteOffset } = index.offsets;
  const octets = Buffer.from(buffer, byteOffset - HEADER, octetsFor(rows, known.length / IDENTITY));
  // The last first: each moves up, to where the next one was.
  known.copy(octets, HEADER + rows * ROW);
  const { offsets, small } = columnsIn(octets, rows);
  small.set(index.small.subarray(0, row * SMALL));
  return {
    index: joinRows(index, row, tail, at, { offsets, small }),
    identities: octets.subarray(HEADER + rows * ROW),
  };
}

/** The rows inside the file's octets, which are aligned for that: `Buffer.alloc` of this size is not pooled. */
function columnsIn(octets: Buffer, rows: number): { offsets: Float64Array; small: Uint32Array } {
  const at = octets.byteOffset + HEADER;
  return {
    offsets: new Float64Array(octets.buffer, at, rows * OFFSETS),
    small: new Uint32Array(octets.buffer, at + rows * OFFSETS * Float64Array.BYTES_PER_ELEMENT, rows * SMALL),
  };
}

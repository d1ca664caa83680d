/**
 * A file as two things: what a program reads now, and what of it is on the disk for certain. Between the
 * two lie the changes that no fsync(2) has made durable, and a power cut keeps any of them:
 *
 *   - each 512-octet sector comes back as it was, or in any of the contents it had since (a sector is
 *     atomic, nothing larger is);
 *   - the size comes back as it was, or as any size the file had since, independently of the sectors;
 *     what has grown without its octets reads as NUL, or as what a truncate had not really removed;
 *   - the rest of the block that a truncate ends in may be cleared though the size did not come through:
 *     ext4 and XFS clear it in memory, and fsync(2) writes the octets of a file before its size.
 *
 * Values are immutable, so that a snapshot of a whole disk is a reference.
 */
import { SECTOR } from '../../lib/maildrop/journal-format.js';

/** What file systems keep of a file as one piece. Octets. */
const BLOCK = 4096;

export interface MemoryFile {
  readonly ino: bigint;
  readonly kind: 'file' | 'symlink';
  readonly uid: number;
  readonly mode: number;
  readonly nlink: number;
  /** What reads return. */
  readonly now: Buffer;
  /** What survives a power cut if nothing else does. */
  readonly disk: Buffer;
  /**
   * What it may come back as instead, oldest first: it was truncated to nothing since. Its blocks are free
   * then, and what is written gets others, so octets from before and after never mix.
   */
  readonly formers: readonly Buffer[];
  /** Sizes the file had since the last fsync, oldest first. */
  readonly sizes: readonly number[];
  /** Contents that sectors had since, oldest first, padded with NUL to a whole sector. */
  readonly sectors: ReadonlyMap<number, readonly Buffer[]>;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

const NO_SECTORS: ReadonlyMap<number, readonly Buffer[]> = new Map();
const EMPTY = Buffer.alloc(0);

/** A file that is durable as it stands. */
export function durableFile(
  ino: bigint,
  content: Uint8Array,
  meta: Partial<Pick<MemoryFile, 'uid' | 'mode' | 'nlink' | 'kind'>> = {},
): MemoryFile {
  const octets = content.length === 0 ? EMPTY : Buffer.from(content);
  return {
    ino,
    kind: 'file',
    uid: process.geteuid!(),
    mode: 0o600,
    nlink: 1,
    now: octets,
    disk: octets,
    formers: [],
    sizes: [],
    sectors: NO_SECTORS,
    atimeNs: 1n,
    mtimeNs: 1n,
    ctimeNs: 1n,
    ...meta,
  };
}

export function written(file: MemoryFile, from: Uint8Array, at: number, time: bigint): MemoryFile {
  if (from.length === 0) return file;
  const end = at + from.length;
  const size = Math.max(file.now.length, end);
  const now = Buffer.allocUnsafe(size);
  file.now.copy(now);
  if (at > file.now.length) now.fill(0, file.now.length, at);
  now.set(from, at);
  const sectors = new Map(file.sectors);
  if (end > file.now.length) {
    // The new size may be on the disk before the octets are.
    const grown = Buffer.alloc(size);
    file.now.copy(grown);
    addVersions(file, sectors, grown, file.now.length, end);
  }
  addVersions(file, sectors, now, Math.min(at, file.now.length), end);
  return { ...file, now, sectors, sizes: withSize(file, size), mtimeNs: time, ctimeNs: time };
}

/** @param clears whether the rest of the block may be cleared before the size is on the disk */
export function truncated(file: MemoryFile, size: number, time: bigint, clears = true): MemoryFile {
  if (size === file.now.length) return file;
  if (size > file.now.length) {
    return written(file, Buffer.alloc(size - file.now.length), file.now.length, time);
  }
  if (size === 0) {
    const formers = [...file.formers, file.disk, ...(file.disk === file.now ? [] : [file.now])];
    const empty = { now: EMPTY, disk: EMPTY, sizes: [], sectors: NO_SECTORS };
    return { ...file, ...empty, formers, mtimeNs: time, ctimeNs: time };
  }
  const now = file.now.subarray(0, size);
  const sectors = new Map(file.sectors);
  // File systems clear the rest of the last block, and fsync writes that before the new size.
  const block = clears ? Math.min(file.now.length, Math.ceil(size / BLOCK) * BLOCK) : size;
  addVersions(file, sectors, now, size, block);
  return { ...file, now, sectors, sizes: withSize(file, size), mtimeNs: time, ctimeNs: time };
}

/** fsync(2) that succeeds. */
export function synced(file: MemoryFile): MemoryFile {
  if (isClean(file)) return file;
  const disk = image(file, file.sizes.length, index => file.sectors.get(index)!.length);
  return {
    ...file,
    disk: disk.equals(file.now) ? file.now : disk,
    formers: [],
    sizes: [],
    sectors: NO_SECTORS,
  };
}

/**
 * fsync(2) that fails: of each sector the new content may be on the disk, still to be written, or lost,
 * that is marked clean, so that no later fsync writes it.
 */
export function syncFailed(
  file: MemoryFile,
  fate: (sector: number) => 'written' | 'pending' | 'lost',
): MemoryFile {
  const disk = image(file, 0, index => (fate(index) === 'written' ? file.sectors.get(index)!.length : 0));
  const sectors = new Map([...file.sectors].filter(([index]) => fate(index) === 'pending'));
  return { ...file, disk, sectors };
}

export function isClean(file: MemoryFile): boolean {
  return file.formers.length === 0 && file.sizes.length === 0 && file.sectors.size === 0;
}

/**
 * The octets on the disk after a power cut.
 * @param size    how many of the un-synced sizes came through: 0 is the old size
 * @param version the same for a sector's contents
 */
export function image(file: MemoryFile, size: number, version: (sector: number) => number): Buffer {
  const octets = Buffer.alloc(size === 0 ? file.disk.length : file.sizes[size - 1]!);
  file.disk.copy(octets);
  for (const [index, versions] of file.sectors) {
    const chosen = version(index);
    if (chosen > 0 && index * SECTOR < octets.length) versions[chosen - 1]!.copy(octets, index * SECTOR);
  }
  return octets;
}

function withSize(file: MemoryFile, size: number): readonly number[] {
  return (file.sizes.at(-1) ?? file.disk.length) === size ? file.sizes : [...file.sizes, size];
}

/** Adds what the sectors of [start, end) now hold, where that is anything new. */
function addVersions(
  file: MemoryFile,
  sectors: Map<number, readonly Buffer[]>,
  now: Buffer,
  start: number,
  end: number,
): void {
  if (start >= end) return;
  for (let index = Math.floor(start / SECTOR); index * SECTOR < end; index++) {
    const content = sectorOf(now, index);
    const versions = sectors.get(index) ?? [];
    const last = versions.at(-1) ?? sectorOf(file.disk, index);
    if (!last.equals(content)) sectors.set(index, [...versions, content]);
  }
}

function sectorOf(octets: Buffer, index: number): Buffer {
  const sector = Buffer.alloc(SECTOR);
  sector.set(octets.subarray(index * SECTOR, (index + 1) * SECTOR));
  return sector;
}

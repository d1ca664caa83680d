/**
 * Reads octets that lie in several places as if they were one piece: what is kept of a mailbox file, or
 * a journal's redo octets followed by mail that came later. Bounded memory, any size. While one chunk is
 * worked on, the next one is being read.
 */
import { readFully, type SpoolIo } from './io.js';
import { SECTOR } from './journal-format.js';

/** Octets moved at a time. */
export const MOVE_CHUNK = 1024 * 1024;

export interface Piece {
  readonly fd: number;
  readonly start: number;
  readonly end: number;
}

/** Octets of all pieces together. */
export function lengthOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** Octets of a file, and where they begin in it. */
export interface Chunk {
  readonly start: number;
  readonly octets: Buffer;
}

/**
 * The octets of pieces that are no longer than MOVE_CHUNK, a chunk for each. A chunk may be written over
 * when the next one is asked for.
 * @throws when a piece is not there in full
 */
async function* chunksOf(io: SpoolIo, pieces: Iterable<Piece>): AsyncGenerator<Chunk> {
  const buffers: Buffer[] = [];
  let turn = 0;
  const read = async ({ fd, start, end }: Piece): Promise<Chunk> => {
    const which = turn++ % 2;
    if ((buffers[which]?.length ?? 0) < end - start) buffers[which] = Buffer.allocUnsafe(end - start);
    const octets = buffers[which]!.subarray(0, end - start);
    if ((await readFully(io, fd, octets, start)) < octets.length) {
      throw new Error('a file became shorter while it was read');
    }
    return { start, octets };
  };
  let ahead: Promise<Chunk> | undefined;
  try {
    for (const piece of pieces) {
      const ready = await ahead;
      ahead = read(piece);
      // It is asked for later, and must not pass for an error that nobody sees until then.
      ahead.catch(() => {});
      if (ready !== undefined) yield ready;
    }
    if (ahead !== undefined) yield await ahead;
  } finally {
    // Nothing is read any more when the reader goes on: the descriptor may be closed then.
    await ahead?.catch(() => {});
  }
}

/** A piece in parts that end where the file's offset is a multiple of MOVE_CHUNK, at `shift` less. */
function* alignedParts({ fd, start, end }: Piece, shift = 0): Generator<Piece> {
  for (let at = start; at < end; ) {
    const stop = Math.min(end, (Math.floor((at + shift) / MOVE_CHUNK) + 1) * MOVE_CHUNK - shift);
    yield { fd, start: at, end: stop };
    at = stop;
  }
}

function* parts(pieces: readonly Piece[]): Generator<Piece> {
  for (const { fd, start, end } of pieces) {
    for (let at = start; at < end; at += MOVE_CHUNK) {
      yield { fd, start: at, end: Math.min(end, at + MOVE_CHUNK) };
    }
  }
}

/**
 * The octets of the pieces, in order, in chunks that are overwritten by the next one.
 * @throws when a piece is not there in full
 */
export async function* octetsOf(io: SpoolIo, pieces: readonly Piece[]): AsyncGenerator<Uint8Array> {
  for await (const { octets } of chunksOf(io, parts(pieces))) yield octets;
}

/**
 * A piece in the parts that `alignedParts` makes of it.
 * @throws when it is not there in full
 */
export function alignedChunks(io: SpoolIo, piece: Piece, shift = 0): AsyncGenerator<Chunk> {
  return chunksOf(io, alignedParts(piece, shift));
}

/** The same as `octetsOf`, in chunks that are full but for the last one, however small the pieces are. */
export async function* gathered(io: SpoolIo, pieces: readonly Piece[]): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafe(Math.min(MOVE_CHUNK, lengthOf(pieces)));
  let filled = 0;
  for await (const octets of octetsOf(io, pieces)) {
    for (let taken = 0; taken < octets.length; ) {
      const part = octets.subarray(taken, taken + buffer.length - filled);
      buffer.set(part, filled);
      taken += part.length;
      filled += part.length;
      if (filled < buffer.length) continue;
      yield buffer;
      filled = 0;
    }
  }
  if (filled > 0) yield buffer.subarray(0, filled);
}

/** Where [start, end) of a file is cut at the borders of its sectors. */
export function* sectorBorders(start: number, end: number): Generator<{ start: number; end: number }> {
  for (let at = start; at < end; ) {
    const stop = Math.min(end, (Math.floor(at / SECTOR) + 1) * SECTOR);
    yield { start: at, end: stop };
    at = stop;
  }
}

/** Sectors of a mailbox file, as far as they lie in [from, to), in runs: each call of a run is one read. */
export async function* sectorsOf(
  io: SpoolIo,
  fd: number,
  from: number,
  to: number,
): AsyncGenerator<{ start: number; octets: Uint8Array[] }> {
  for await (const chunk of alignedChunks(io, { fd, start: from, end: to })) {
    const { start } = chunk;
    const borders = [...sectorBorders(start, start + chunk.octets.length)];
    yield { start, octets: borders.map(one => chunk.octets.subarray(one.start - start, one.end - start)) };
  }
}

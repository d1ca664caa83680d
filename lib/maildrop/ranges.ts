/**
 * Reads octets that lie in several places as if they were one piece: what is kept of a mailbox file, or
 * a journal's redo octets followed by mail that came later. Bounded memory, any size.
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

/**
 * The octets of the pieces, in order, in chunks that are overwritten by the next one.
 * @throws when a piece is not there in full
 */
export async function* octetsOf(io: SpoolIo, pieces: readonly Piece[]): AsyncGenerator<Uint8Array> {
  const longest = Math.max(0, ...pieces.map(({ start, end }) => end - start));
  const buffer = Buffer.allocUnsafe(Math.min(MOVE_CHUNK, longest));
  for (const { fd, start, end } of pieces) {
    for (let position = start; position < end; ) {
      const chunk = buffer.subarray(0, Math.min(buffer.length, end - position));
      if ((await readFully(io, fd, chunk, position)) < chunk.length) {
        throw new Error('a file became shorter while it was read');
      }
      yield chunk;
      position += chunk.length;
    }
  }
}

/** The same, in chunks that are full but for the last one, however small the pieces are. */
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

/** Sectors of a mailbox file, as far as they lie in [from, to), in runs: each call of a run is one read. */
export async function* sectorsOf(
  io: SpoolIo,
  fd: number,
  from: number,
  to: number,
): AsyncGenerator<{ start: number; octets: Uint8Array[] }> {
  const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(MOVE_CHUNK, to - from)));
  for (let start = from; start < to; ) {
    const end = Math.min(to, (Math.floor(start / MOVE_CHUNK) + 1) * MOVE_CHUNK);
    const chunk = buffer.subarray(0, end - start);
    if ((await readFully(io, fd, chunk, start)) < chunk.length) {
      throw new Error('mailbox became shorter while it was read');
    }
    const octets: Uint8Array[] = [];
    for (let at = start; at < end; ) {
      const stop = Math.min(end, (Math.floor(at / SECTOR) + 1) * SECTOR);
      octets.push(chunk.subarray(at - start, stop - start));
      at = stop;
    }
    yield { start, octets };
    start = end;
  }
}

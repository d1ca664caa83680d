/**
 * Line ends in raw octets, for the files of this room. A line ends with LF; a CR directly before that
 * LF belongs to the line end. A CR anywhere else is an octet like any other.
 */

export const LF = 10;
export const CR = 13;

/** The same memory as a Buffer, whose indexOf is memchr(3). */
export function asBuffer(chunk: Uint8Array): Buffer {
  return Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
}

/**
 * Where the next LF is at or after `at`, or -1. The first octets are looked at here, because a native
 * call for each line would make a mailbox of empty lines ten times slower to read than ordinary mail.
 */
export function findLf(chunk: Buffer, at: number): number {
  const near = Math.min(at + 8, chunk.length);
  for (let i = at; i < near; i++) {
    if (chunk[i] === LF) return i;
  }
  return near < chunk.length ? chunk.indexOf(LF, near) : -1;
}

/**
 * How many LFs in [start, end) have no CR before them: the octets that CRLF line ends would add.
 * @param before the octet before `start`, wherever it was
 */
export function countBareLf(chunk: Buffer, start: number, end: number, before: number): number {
  let bare = 0;
  for (let lf = findLf(chunk, start); lf >= 0 && lf < end; lf = findLf(chunk, lf + 1)) {
    if ((lf > start ? chunk[lf - 1] : before) !== CR) bare++;
  }
  return bare;
}

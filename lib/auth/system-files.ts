/**
 * /etc/passwd and /etc/shadow as octets: reading them, and finding one entry by name.
 *
 * Invariants: a file is opened anew each time, because programs replace it by rename(2); the first line of
 * a name counts, as for getpwnam(3), even when it is broken; no more of a password file than one entry
 * becomes a string, for strings cannot be wiped and outlive the right to read the file.
 *
 * Synchronous: root reads here, and no other thread should be doing that while root is given up.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

const NEWLINE = 10;

/** Reads a small file. Throws as open(2) and read(2) do, and when it is not a regular file. */
export function readOctets(path: string): Buffer {
  // O_NONBLOCK: a FIFO would wait for its writer.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!fstatSync(fd).isFile()) throw new Error('not a regular file');
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * The fields of the first line that begins with `name` and a colon, one character per octet, or undefined.
 * @param name a user name: no colon, no line end, not beginning with `+` or `-`, which are for NIS
 */
export function findEntry(content: Buffer, name: string): string[] | undefined {
  const key = `${name}:`;
  let start = 0;
  if (content.toString('latin1', 0, key.length) !== key) {
    const found = content.indexOf(`\n${key}`, 0, 'latin1');
    if (found === -1) return undefined;
    start = found + 1;
  }
  return content.toString('latin1', start, endOfLine(content, start)).split(':');
}

/** The second field of each line, at most `limit` of them. */
export function* passwordFields(content: Buffer, limit: number): Iterable<string> {
  for (let start = 0, line = 0; start < content.length && line < limit; line += 1) {
    const end = endOfLine(content, start);
    const [, field] = content.toString('latin1', start, end).split(':', 2);
    if (field !== undefined) yield field;
    start = end + 1;
  }
}

function endOfLine(content: Buffer, start: number): number {
  const end = content.indexOf(NEWLINE, start);
  return end === -1 ? content.length : end;
}

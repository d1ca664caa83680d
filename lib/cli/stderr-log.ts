/**
 * The log of a foreground command: stderr, with journald's priorities when stderr is the journal.
 *
 * Invariant: a log that cannot be written ends nobody's session. Whoever read it may be gone, or its disk full.
 */
import { fstatSync, writeSync } from 'node:fs';
import { errnoOf } from '../errors.js';
import { createLog, type Level, type Log } from '../log.js';

/**
 * Whether descriptor 2 is the journal. `JOURNAL_STREAM` alone proves nothing once stderr has been
 * redirected: it must name the very file (systemd.exec(5)).
 */
export function stderrIsJournal(stream = process.env.JOURNAL_STREAM): boolean {
  if (stream === undefined) return false;
  const { dev, ino } = fstatSync(2, { bigint: true });
  return stream === `${dev}:${ino}`;
}

export function stderrLog(threshold: Level): Log {
  return createLog(isFile(2) ? writeFile : writeStderr, { journal: stderrIsJournal(), threshold });
}

function isFile(fd: number): boolean {
  try {
    return fstatSync(fd).isFile();
  } catch (error) {
    if (errnoOf(error) === 'EBADF') return false;
    throw error;
  }
}

/** One line to descriptor 2, a file: what Node.js has in front of it would only cost time. */
function writeFile(line: string): void {
  try {
    writeSync(2, line);
  } catch {
    // There is nobody to tell, and the next may succeed.
  }
}

/** One line to descriptor 2, if that takes it. */
export function writeStderr(line: string): void {
  writeIfPossible(process.stderr, line);
}

const guarded = new Set<NodeJS.WriteStream>();

/** Writes to stdout or stderr. What fails is forgotten: there is nobody to tell, and the next may succeed. */
export function writeIfPossible(stream: NodeJS.WriteStream, text: string): void {
  if (!guarded.has(stream)) stream.on('error', () => {});
  guarded.add(stream);
  stream.write(text);
}

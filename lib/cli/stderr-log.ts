/** The log of a foreground command: stderr, with journald's priorities when stderr is the journal. */
import { fstatSync } from 'node:fs';
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
  return createLog(line => process.stderr.write(line), { journal: stderrIsJournal(), threshold });
}

/**
 * How many connections the host's limit of open files allows (`ulimit -n`, `LimitNOFILE=`), so that who is
 * served never lacks a descriptor for a lock or a journal, and one too many is told so (failure-checks C71).
 */
import { readFileSync } from 'node:fs';

/** For what a server has open whoever is connected: listeners, libraries, pipes to PAM, watches. */
const OF_SERVER = 64;
/** Of a session while it deletes: socket, mailbox file, session lock, journal and directory of it, dotlock. */
const OF_SESSION = 6;

/** @returns Infinity where the system does not tell the limit */
export function connectionsPossible(limits = readLimits()): number {
  const most = Number(/^Max open files +([0-9]+) /m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  return Math.max(1, Math.floor((most - OF_SERVER) / OF_SESSION));
}

/** Node.js has raised the soft limit to the hard one when it started. */
function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'latin1');
  } catch {
    return ''; // No Linux.
  }
}

/**
 * What a dotlock of ours says, in its one line, and how those of others are read. Usually whose it is, `PID:HOST`, so
 * that a lock whose process is gone can be broken at once.
 *
 * While the mailbox file may be half done, that would be wrong: whoever breaks the lock of a killed server at once
 * sees, and may rewrite, what neither was nor will be. So it then names the UPDATE instead, which no program takes for
 * a process: the others treat such a lock by its age alone, as one that is empty. Who has the session lock, and a
 * journal of an UPDATE that is named, knows that nobody is at it any more.
 */
import { hash } from 'node:crypto';
import { ftruncateSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';

/** The UPDATE of a journal as others may read it: a journal is replaced by another on the way, and each has its own. */
export type UpdateId = string;

const UPDATE = 'mbox-pop3d UPDATE';

/** @param nonce of the journal, which is nobody else's business */
export function updateIdOf(nonce: Uint8Array): UpdateId {
  return hash('sha256', nonce, 'hex').slice(0, 32);
}

export function ownerLine(): string {
  return `${process.pid}:${hostname()}\n`;
}

export function updateLine(ids: readonly UpdateId[]): string {
  return `${UPDATE} ${ids.join(' ')}\n`;
}

/**
 * Replaces what a lock says. Where there is no room for it, by nothing, which is as good to others: it is never a
 * reason not to go on.
 */
export function replaceLine(fd: number, line: string): void {
  const length = Buffer.byteLength(line);
  let written = 0;
  try {
    written = writeSync(fd, line, 0);
  } finally {
    // Of a part, the beginning might be taken for a process.
    ftruncateSync(fd, written === length ? length : 0);
  }
}

/** What a lock's first line says. */
export interface LockLine {
  /** Undefined when it is of no process of this host for certain. */
  readonly pid: number | undefined;
  /** Whether it names this host. */
  readonly here: boolean;
  /** The UPDATEs it names, the last first. */
  readonly updates: readonly UpdateId[];
}

/** `PID:HOST`, or a bare PID of at least 2 (`0` and `1` are written by programs that mean nothing by it), or ours. */
export function readLine(line: string): LockLine {
  const update = /^mbox-pop3d UPDATE ([0-9a-f]{32}(?: [0-9a-f]{32})*)$/.exec(line);
  if (update !== null) return { pid: undefined, here: false, updates: update[1]!.split(' ') };
  const nobody = { pid: undefined, here: false, updates: [] };
  const match = /^\s*([1-9][0-9]{0,9})(?::(\S+))?\s*$/.exec(line);
  const pid = Number(match?.[1]);
  if (match === null || pid < 2) return nobody;
  if (match[2] === undefined) return { pid, here: false, updates: [] };
  return match[2] === hostname() ? { pid, here: true, updates: [] } : nobody;
}

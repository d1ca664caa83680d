/**
 * Who has the session lock of a mailbox, or had it last: pid, since, peer and socket, in a file of RUNTIME named by a
 * hash of the mailbox path. It is for the text a refused login sees, and tells where to ask the holder to give way
 * (`takeover.ts`); nothing else rests on it. The file is never unlinked: it may be the lock itself.
 *
 * RUNTIME is ours, on a local file system, and the file one short line: it is read and written at once, which
 * takes less than handing it to libuv's pool.
 */
import { hash } from 'node:crypto';
import { constants, openSync, readSync, writeSync } from 'node:fs';
import { errnoOf } from '../errors.js';
import { isNoRoom } from './io.js';

/** More than our own record ever takes, octets. */
const MAX_RECORD = 512;
/** Where records are read and written, each at once. */
const place = Buffer.alloc(MAX_RECORD);
/** Of each record, so that it covers the last one, octets: pid, time, address and socket have 126 at most. */
const RECORD = 160;

/** In place of the address of a client, while an interrupted UPDATE is finished without one. */
export const RECOVERING = 'recovering';

export interface SessionRecord {
  readonly pid: number;
  readonly since: string;
  readonly address: string;
  /** Where to ask. */
  readonly socket: string | undefined;
}

/** What the session lock of a mailbox is called. @param mailboxPath resolved: two spellings would be two locks */
export function sessionName(mailboxPath: string): string {
  return hash('sha256', mailboxPath).slice(0, 32);
}

export function recordPath(dir: string, name: string): string {
  return `${dir}/${name}.session`;
}

/** Opens the file, which is made if there is none. @returns its descriptor */
export function openRecord(path: string): number {
  return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
}

/** What the file says, whether or not somebody holds the lock. */
export function readRecord(fd: number): SessionRecord | undefined {
  // One read: of a file so small it is never short, and its end is of no interest.
  const count = uninterrupted(() => readSync(fd, place, 0, MAX_RECORD, 0));
  const text = place.toString('latin1', 0, count);
  const match = /^([0-9]+) ([0-9TZ:.-]+) ([!-~]+)(?: ([0-9a-f]{16}\.socket|-))?\n/.exec(text);
  const [, pid, since, address, socket] = match ?? [];
  // Its holder may be between locking and writing.
  if (since === undefined || address === undefined) return undefined;
  return { pid: Number(pid), since, address, socket: socket === '-' ? undefined : socket };
}

/** Says that from now on the lock is ours. */
export function writeRecord(fd: number, address: string, socket: string | undefined): void {
  const record = `${process.pid} ${new Date().toISOString()} ${address} ${socket ?? '-'}\n`;
  const length = place.write(record.padEnd(RECORD, '\n'), 'latin1');
  try {
    for (let done = 0; done < length; ) {
      const count = uninterrupted(() => writeSync(fd, place, done, length - done, done));
      if (count === 0) throw new Error('write(2) wrote nothing');
      done += count;
    }
  } catch (error) {
    // No lock rests on it, and somebody must be able to log in and delete what fills the disk.
    if (!isNoRoom(error)) throw error;
  }
}

function uninterrupted<T>(call: () => T): T {
  for (;;) {
    try {
      return call();
    } catch (error) {
      if (errnoOf(error) !== 'EINTR') throw error;
    }
  }
}

/**
 * The session lock: one POP3 session per mailbox, across processes and run modes (RFC 1939 §4, the
 * exclusive-access lock), held from login to the end. It is separate from the mailbox locks, so that
 * mail can be delivered while a client dawdles.
 *
 * An OFD lock on a file of our own, named by a hash of the mailbox path. The file is never unlinked:
 * two sessions could otherwise each hold a lock on a different file of the same name. What it holds
 * (pid, since, peer) is for the text a refused login sees, and nothing rests on it.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { join } from 'node:path';
import { Unavailable } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Peer } from '../pop3/ports.js';
import { readFully, type SpoolIo, writeFully } from './io.js';

/** More than our own record ever takes, octets. */
const MAX_RECORD = 512;

export interface SessionLock {
  release(): Promise<void>;
}

/**
 * Takes the session lock of a mailbox, without waiting.
 * @param mailboxPath resolved: two spellings of one path would be two locks
 * @throws Unavailable IN-USE, saying since when and from where the other session is
 */
export async function lockSession(
  io: SpoolIo,
  host: Host,
  runtimeDir: string,
  mailboxPath: string,
  peer: Peer,
): Promise<SessionLock> {
  const name = createHash('sha256').update(mailboxPath).digest('hex').slice(0, 32);
  const path = join(runtimeDir, `${name}.session`);
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
  const fd = await io.open(path, flags, 0o600).catch(cause => {
    throw new Unavailable('SYS/TEMP', 'session lock cannot be made', { cause });
  });
  try {
    if (!host.lockOpenFile(fd, 'write')) throw new Unavailable('IN-USE', await describeHolder(io, fd));
    await io.truncate(fd, 0);
    const record = `${process.pid} ${new Date().toISOString()} ${peer.address}\n`;
    await writeFully(io, fd, Buffer.from(record), 0);
  } catch (error) {
    await io.close(fd);
    throw error;
  }
  return { release: () => io.close(fd) };
}

async function describeHolder(io: SpoolIo, fd: number): Promise<string> {
  const buffer = Buffer.alloc(MAX_RECORD);
  const text = buffer.toString('latin1', 0, await readFully(io, fd, buffer, 0));
  const match = /^[0-9]+ ([0-9TZ:.-]+) ([0-9A-Za-z:.%]+)\n/.exec(text);
  // The holder may be between locking and writing.
  if (match === null) return 'maildrop is in use by another POP3 session';
  return `maildrop is in use by another POP3 session since ${match[1]} from ${match[2]}`;
}

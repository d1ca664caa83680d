/**
 * The session lock: one POP3 session per mailbox, across processes and run modes (RFC 1939 §4, the
 * exclusive-access lock), held from login to the end. It is separate from the mailbox locks, so that
 * mail can be delivered while a client dawdles.
 *
 * An OFD lock on a file of our own, named by a hash of the mailbox path. The file is never unlinked:
 * two sessions could otherwise each hold a lock on a different file of the same name. What it holds
 * (pid, since, peer, socket) is for the text a refused login sees, and tells where to ask its holder to
 * give way (`takeover.ts`); nothing else rests on it.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { join } from 'node:path';
import { Unavailable } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Log } from '../log.js';
import { isNoRoom, type SpoolIo, uninterrupted, writeFully } from './io.js';
import type { Claim, Hold, Takeover } from './takeover.js';

/** More than our own record ever takes, octets. */
const MAX_RECORD = 512;
/** Of each record, so that it covers the last one, octets: pid, time, address and socket have 126 at most. */
const RECORD = 160;

export interface SessionLock {
  /** Enters the UPDATE state, in which nobody takes the maildrop over. @throws Disconnected if somebody has */
  beginUpdate(): void;
  release(): Promise<void>;
}

export interface SessionLockDeps {
  readonly io: SpoolIo;
  readonly host: Host;
  readonly log: Log;
  /** The directory of the session locks. */
  readonly dir: string;
  readonly takeover: Takeover;
}

/** Who had the lock last, or has it. */
export interface SessionRecord {
  readonly pid: number;
  readonly since: string;
  readonly address: string;
  /** Where to ask. */
  readonly socket: string | undefined;
}

/**
 * Takes the session lock of a mailbox: at once, or from a session that gives way.
 * @param mailboxPath resolved: two spellings of one path would be two locks
 * @throws Unavailable IN-USE, saying since when and from where the other session is
 */
export async function lockSession(
  deps: SessionLockDeps,
  mailboxPath: string,
  claim: Claim,
): Promise<SessionLock> {
  const { io, dir, takeover } = deps;
  const name = nameOf(mailboxPath);
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
  const fd = await io.open(join(dir, `${name}.session`), flags, 0o600).catch(failed);
  let hold: Hold | undefined;
  const release = async () => {
    const tell = hold?.release();
    try {
      await io.close(fd);
    } finally {
      tell?.();
    }
  };
  try {
    await obtain(deps, fd, name, claim);
    hold = takeover.hold(name, claim);
    const socket = await hold.socket;
    const record = `${process.pid} ${new Date().toISOString()} ${claim.peer.address} ${socket ?? '-'}\n`;
    await writeFully(io, fd, Buffer.from(record.padEnd(RECORD, '\n')), 0).catch(error => {
      // No lock rests on it, and somebody must be able to log in and delete what fills the disk.
      if (!isNoRoom(error)) throw error;
    });
    return { beginUpdate: hold.beginUpdate, release };
  } catch (error) {
    await release();
    throw error instanceof Unavailable ? error : failed(error);
  }
}

/** @throws Unavailable IN-USE when somebody else keeps it */
async function obtain(
  { io, host, log, takeover }: SessionLockDeps,
  fd: number,
  name: string,
  { account, peer }: Claim,
): Promise<void> {
  const free = host.lockOpenFile(fd, 'write');
  const last = await readRecord(io, fd);
  if (!free) {
    const yielded = last?.socket !== undefined && (await takeover.ask(last.socket, name, peer));
    if (!yielded || !host.lockOpenFile(fd, 'write')) throw inUse(await readRecord(io, fd));
    log.write('info', peer.address, 'takeover', {
      user: account.user,
      from: last.address,
      since: last.since,
    });
  }
  // Most sockets are those of processes that live; to ask each would be a connection for each login. One that has
  // given way may live on with its other sessions, or be about to end.
  if (last?.socket !== undefined && (!free || !host.processExists(last.pid))) {
    await takeover.removeIfDead(last.socket);
  }
}

function nameOf(mailboxPath: string): string {
  return createHash('sha256').update(mailboxPath).digest('hex').slice(0, 32);
}

/**
 * The file of the session lock of a mailbox.
 * @param mailboxPath resolved
 */
export function sessionLockPath(dir: string, mailboxPath: string): string {
  return join(dir, `${nameOf(mailboxPath)}.session`);
}

/** What the file of a session lock says, whether or not somebody holds it. */
export async function readRecord(io: SpoolIo, fd: number): Promise<SessionRecord | undefined> {
  const buffer = Buffer.alloc(MAX_RECORD);
  // One read: of a file so small it is never short, and its end is of no interest.
  const count = await uninterrupted(() => io.read(fd, buffer, 0));
  const text = buffer.toString('latin1', 0, count);
  const match = /^([0-9]+) ([0-9TZ:.-]+) ([!-~]+)(?: ([0-9a-f]{16}\.socket|-))?\n/.exec(text);
  const [, pid, since, address, socket] = match ?? [];
  // Its holder may be between locking and writing.
  if (since === undefined || address === undefined) return undefined;
  return { pid: Number(pid), since, address, socket: socket === '-' ? undefined : socket };
}

function inUse(record: SessionRecord | undefined): Unavailable {
  const where = record === undefined ? '' : ` since ${record.since} from ${record.address}`;
  return new Unavailable('IN-USE', `maildrop is in use by another POP3 session${where}`);
}

function failed(cause: unknown): never {
  throw new Unavailable('SYS/TEMP', 'session lock cannot be made', { cause });
}

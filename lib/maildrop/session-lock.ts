/**
 * The session lock: one POP3 session per mailbox, across processes and run modes (RFC 1939 §4, the
 * exclusive-access lock), held from login to the end. It is separate from the mailbox locks, so that
 * mail can be delivered while a client dawdles.
 *
 * An OFD lock in RUNTIME. Where one process serves many it is an octet of a file that they share, and takes no
 * descriptor (`locked-octets.ts`). A process that becomes its user takes the lock along, and must not be able to
 * lock anybody else out with it: there it is the file of the mailbox's own record (`session-record.ts`). The two
 * never meet: a RUNTIME belongs to a STATE, which belongs to one model.
 */
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Unavailable } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Log } from '../log.js';
import { LockedOctets, type OctetPlace, octetPlace } from './locked-octets.js';
import { openRecoveryLock } from './recovery-lock.js';
import {
  openRecord,
  RECOVERING,
  readRecord,
  recordPath,
  type SessionRecord,
  sessionName,
  writeRecord,
} from './session-record.js';
import type { Claim, Hold, Takeover } from './takeover.js';

export interface SessionLock {
  /** Enters the UPDATE state, in which nobody takes the maildrop over. @throws Disconnected if somebody has */
  beginUpdate(): void;
  release(): void;
}

/** The session locks of a server. */
export interface SessionLocks {
  /**
   * Takes the session lock of a mailbox: at once, or from a session that gives way.
   * @param mailboxPath resolved: two spellings of one path would be two locks
   * @throws Unavailable IN-USE, saying since when and from where the other session is
   */
  lock(mailboxPath: string, claim: Claim): Promise<SessionLock>;
  /**
   * Takes it for finishing an interrupted UPDATE, which who logs in meanwhile waits for.
   * @returns what gives it back; undefined when somebody else has it: nobody is asked to give way
   * @throws Unavailable SYS/TEMP
   */
  tryLock(mailboxPath: string): (() => void) | undefined;
  /**
   * Removes the sockets of processes that were killed.
   * @returns how many
   * @throws errors of reading the directory
   */
  removeDeadSockets(): Promise<number>;
}

export interface SessionLockDeps {
  readonly host: Host;
  readonly log: Log;
  /** The directory of the session locks. */
  readonly dir: string;
  readonly takeover: Takeover;
  /** Whether this process will be the user of one mailbox. */
  readonly perUser: boolean;
}

/** How long a recovery is waited for, and how often it is looked whether it is over, milliseconds. */
const RECOVERY = { most: 2000, pause: 20 };

/** Of one mailbox: without waiting, what gives the lock back, or undefined when somebody else has it. */
type TryLock = () => (() => void) | undefined;

/** The session locks of this host. */
export class HostSessionLocks implements SessionLocks {
  readonly #octets: LockedOctets | undefined;

  constructor(private readonly deps: SessionLockDeps) {
    this.#octets = deps.perUser ? undefined : new LockedOctets(deps.host, deps.dir);
  }

  async lock(mailboxPath: string, claim: Claim): Promise<SessionLock> {
    const { dir, takeover, perUser } = this.deps;
    const name = sessionName(mailboxPath);
    const fd = openOrFail(recordPath(dir, name));
    let giveBack: (() => void) | undefined;
    let hold: Hold | undefined;
    const release = () => {
      const tell = hold?.release();
      try {
        giveBack?.();
        // Which ends the lock, where it is on this file.
        if (perUser) closeSync(fd);
      } finally {
        tell?.();
      }
    };
    try {
      giveBack = await this.#obtain(fd, name, claim, () => this.#tryOnce(fd, name));
      hold = takeover.hold(name, claim);
      writeRecord(fd, claim.peer.address, await hold.socket);
      return { beginUpdate: hold.beginUpdate, release };
    } catch (error) {
      release();
      throw error instanceof Unavailable ? error : failed(error);
    } finally {
      if (!perUser) closeSync(fd);
    }
  }

  removeDeadSockets(): Promise<number> {
    return this.deps.takeover.removeDead();
  }

  tryLock(mailboxPath: string): (() => void) | undefined {
    try {
      return openRecoveryLock(this.deps, mailboxPath)();
    } catch (error) {
      return failed(error);
    }
  }

  #tryOnce(fd: number, name: string): (() => void) | undefined {
    if (this.#octets) return this.#octets.tryLock(name);
    // Closing it ends the lock as well.
    return this.deps.host.lockOpenFile(fd, 'write') ? () => {} : undefined;
  }

  /** @returns what gives the lock back @throws Unavailable IN-USE when somebody else keeps it */
  async #obtain(fd: number, name: string, { account, peer }: Claim, tryLock: TryLock): Promise<() => void> {
    const { host, log, takeover } = this.deps;
    let giveBack = tryLock();
    const free = giveBack !== undefined;
    try {
      let last = readRecord(fd);
      const deadline = performance.now() + RECOVERY.most;
      while (giveBack === undefined && last?.address === RECOVERING) {
        if (performance.now() > deadline) throw inUse(last);
        await sleep(RECOVERY.pause);
        giveBack = tryLock();
        // It may be another session's by now, which can be asked.
        last = readRecord(fd);
      }
      if (giveBack === undefined) {
        const yielded = last?.socket !== undefined && (await takeover.ask(last.socket, name, peer));
        giveBack = yielded ? tryLock() : undefined;
        if (giveBack === undefined) throw inUse(readRecord(fd));
        log.write('info', peer.address, 'takeover', {
          user: account.user,
          from: last?.address,
          since: last?.since,
        });
      }
      // Most sockets are those of processes that live; to ask each would be a connection for each login. One that
      // has given way may live on with its other sessions, or be about to end.
      if (last?.socket !== undefined && last.socket !== takeover.socketName) {
        const lives = last.pid === process.pid || host.processExists(last.pid);
        if (!free || !lives) await takeover.removeIfDead(last.socket);
      }
      return giveBack;
    } catch (error) {
      giveBack?.();
      throw error;
    }
  }
}

/**
 * Where to look for the session lock of a mailbox.
 * @param mailboxPath resolved
 */
export function sessionLockPlaces(dir: string, mailboxPath: string): { record: string; shared: OctetPlace } {
  const name = sessionName(mailboxPath);
  return { record: recordPath(dir, name), shared: octetPlace(dir, name) };
}

function inUse(record: SessionRecord | undefined): Unavailable {
  if (record?.address === RECOVERING)
    return new Unavailable('IN-USE', 'an interrupted update of this maildrop is being finished');
  const where = record === undefined ? '' : ` since ${record.since} from ${record.address}`;
  return new Unavailable('IN-USE', `maildrop is in use by another POP3 session${where}`);
}

function openOrFail(path: string): number {
  try {
    return openRecord(path);
  } catch (error) {
    return failed(error);
  }
}

function failed(cause: unknown): never {
  throw new Unavailable('SYS/TEMP', 'session lock cannot be made', { cause });
}

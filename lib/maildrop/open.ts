/**
 * Opens a maildrop: session lock, mailbox file, mailbox locks, index, in this order. Whatever fails,
 * everything taken before is given back and nothing in the spool has changed.
 */
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { Unavailable } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Log } from '../log.js';
import { NotMbox } from '../mbox/scanner.js';
import type { Account, Maildrop, OpenMaildrop, Peer } from '../pop3/ports.js';
import { EmptyMaildrop } from './empty-maildrop.js';
import type { SpoolIo } from './io.js';
import { Journal } from './journal.js';
import { type LockMethod, mailboxLocker } from './locks.js';
import { MailboxAccess } from './mailbox-access.js';
import { changeBetween, type MailboxFile } from './mailbox-file.js';
import { MboxMaildrop, type Snapshot } from './maildrop.js';
import { logRecovery, recover } from './recovery.js';
import { lockSession } from './session-lock.js';
import { UniqueIdMemory } from './unique-id-memory.js';

export interface MaildropSettings {
  /** Directory of the mailbox files, each named like its user. */
  readonly spool: string;
  /** Holds a directory for each user who needs one. */
  readonly stateDir: string;
  /** Holds the session locks; must exist. */
  readonly runtimeDir: string;
  readonly readOnly: boolean;
  readonly locks: readonly LockMethod[];
  /** How long to try for the mailbox locks, milliseconds. */
  readonly lockTimeout: number;
  /** How long to hold them after login, milliseconds; 0 only while indexing and updating, Infinity always. */
  readonly lockYield: number;
  /** Who must own the mailbox file of an account. */
  readonly ownerOf: (account: Account) => number;
}

export interface MaildropDeps {
  readonly io: SpoolIo;
  readonly host: Host;
  readonly log: Log;
}

/** Indexing again this often, a mailbox that changes under our locks is given up. */
const SCAN_TRIES = 3;

/** Makes the function by which the protocol opens maildrops. */
export function maildropOpener(deps: MaildropDeps, settings: MaildropSettings): OpenMaildrop {
  const lockMailbox = mailboxLocker(deps.host, settings.locks, (path, reason) => {
    deps.log.write('warn', '-', 'dotlock-lost', { mailbox: path, reason: reason.message });
  });

  async function openLocked(
    account: Account,
  ): Promise<{ access: MailboxAccess; lockedAt: number } | undefined> {
    const access = await MailboxAccess.open(join(settings.spool, account.user), {
      io: deps.io,
      owner: settings.ownerOf(account),
      writable: !settings.readOnly,
      lockMailbox,
      lockTimeout: settings.lockTimeout,
      onError: error => deps.log.write('error', '-', 'unlock-failed', { reason: String(error) }),
    });
    return access && { access, lockedAt: performance.now() };
  }

  /** No session starts while an UPDATE is unfinished: what it would show is neither old nor new. */
  async function finishInterrupted(
    file: MailboxFile | undefined,
    journal: Journal,
    account: Account,
  ): Promise<void> {
    if (!settings.readOnly) {
      logRecovery(deps.log, account.user, await recover(file, journal));
      return;
    }
    const state = await journal.read();
    if (state.is !== 'committed' && state.is !== 'newer') return;
    throw new Unavailable('SYS/TEMP', 'an update of this mailbox was interrupted', {
      cause: new Error('a read-only server cannot finish it: run mbox-pop3d recover'),
    });
  }

  return async (account: Account, peer: Peer): Promise<Maildrop> => {
    const mailboxPath = join(await resolveSpool(settings.spool), account.user);
    const session = await lockSession(deps.io, deps.host, settings.runtimeDir, mailboxPath, peer);
    const stateDir = join(settings.stateDir, account.user);
    const journal = new Journal(deps.io, stateDir, settings.ownerOf(account));
    let access: MailboxAccess | undefined;
    try {
      const opened = await openLocked(account);
      access = opened?.access;
      await finishInterrupted(access?.file, journal, account);
      if (opened === undefined || access === undefined) {
        await journal.close();
        return new EmptyMaildrop(() => session.release());
      }
      const snapshot = await takeSnapshot(access);
      if (settings.lockYield !== Number.POSITIVE_INFINITY) {
        const left = settings.lockYield - (performance.now() - opened.lockedAt);
        if (left > 0) access.yieldAfter(left);
        else access.yield();
      }
      const memory = new UniqueIdMemory(deps.io, stateDir);
      return new MboxMaildrop(
        snapshot,
        { journal, memory },
        {
          readOnly: settings.readOnly,
          releaseSession: () => session.release(),
        },
      );
    } catch (error) {
      await journal.close();
      await access?.close();
      await session.release();
      throw asUnavailable(error);
    }
  };
}

/** A spool that is not there is not an empty spool: its file system may not be mounted. */
async function resolveSpool(spool: string): Promise<string> {
  try {
    return await realpath(spool);
  } catch (cause) {
    throw new Unavailable('SYS/TEMP', 'mail spool is not available', { cause });
  }
}

/** Indexes the file; again if a program that takes none of our locks changed it meanwhile. */
async function takeSnapshot(access: MailboxAccess): Promise<Snapshot> {
  for (let attempt = 1; attempt <= SCAN_TRIES; attempt++) {
    const stat = await access.file.stat();
    const index = await access.file.scan();
    const after = await access.file.stat();
    if (index.size === stat.size && changeBetween(stat, after) === 'same') return { access, index, stat };
  }
  throw new Unavailable('IN-USE', 'mailbox is being changed by a program that does not lock it');
}

function asUnavailable(error: unknown): Unavailable {
  if (error instanceof Unavailable) return error;
  if (error instanceof NotMbox) {
    return new Unavailable('SYS/PERM', 'mailbox file is not in mbox format', { cause: error });
  }
  return new Unavailable('SYS/TEMP', 'mailbox file cannot be read', { cause: error });
}

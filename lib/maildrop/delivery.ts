/**
 * Delivers one message to the mailbox of one user, as any delivery agent does, and what only we can do:
 * an UPDATE that was interrupted is finished first. In this order: the mailbox file, made if there is none;
 * its locks; recovery; the message.
 *
 * Where the state directory is out of reach (a process of the user's, the directory the server's) nothing
 * is recovered: what is appended then is found by whoever recovers, as the mail of any other agent is.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { errnoOf, Unavailable } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Log } from '../log.js';
import { append, type Message } from './append.js';
import { finishInterrupted } from './interrupted.js';
import type { SpoolIo } from './io.js';
import { Journal } from './journal.js';
import type { UpdateId } from './lock-line.js';
import { type LockMethod, type LockTarget, mailboxLocker } from './locks.js';
import { MailboxAccess } from './mailbox-access.js';
import type { Journals } from './move-appended.js';
import { PlanJournal } from './plan-journal.js';
import { logRecovery } from './recovery.js';
import type { TryRecoveryLock } from './recovery-lock.js';
import { holdsUpdate } from './update-locks.js';
import { userStateDir } from './user-state-dir.js';

export interface DeliverySettings {
  readonly spool: string;
  readonly stateDir: string;
  readonly locks: readonly LockMethod[];
  /** How long to try for the mailbox locks, milliseconds. */
  readonly lockTimeout: number;
  /** The uid that must own the mailbox. */
  readonly owner: number;
  /** The group whose members open each other's mailboxes: one that is made with it gets mode 0660. */
  readonly mailGroup: number | undefined;
}

export interface DeliveryDeps {
  readonly io: SpoolIo;
  readonly host: Host;
  readonly log: Log;
  /** See `DotlockOptions`. */
  readonly asSpoolGroup?: (<T>(run: () => T) => T) | undefined;
  /** Undefined where the session locks are out of reach. */
  readonly tryRecoveryLock?: TryRecoveryLock | undefined;
  /** Asked now and then; throws when the delivery is to be given up. */
  readonly stop: () => void;
}

/** Making a mailbox that others make and remove at the same time is given up after so many tries. */
const TRIES = 10;

/**
 * @returns octets appended, which are on the disk
 * @throws Unavailable, PartLeft, or the error of a system call; see `append`
 */
export async function deliverTo(
  user: string,
  message: Message,
  deps: DeliveryDeps,
  settings: DeliverySettings,
): Promise<number> {
  const path = join(settings.spool, user);
  const interrupted = new Interrupted(user, deps, settings);
  const isInterrupted = (updates: readonly UpdateId[]) => interrupted.isOneOf(updates);
  const access = await openOrCreate(path, deps, settings, isInterrupted).catch(async error => {
    await interrupted.close();
    throw error;
  });
  const onError = (error: unknown) => {
    deps.log.write('error', '-', 'close-failed', { reason: String(error) });
  };
  try {
    await interrupted.finish(access);
    return await append(access, message, { stop: deps.stop, onError });
  } finally {
    await access.close().catch(onError);
    await interrupted.close().catch(onError);
  }
}

async function openOrCreate(
  path: string,
  deps: DeliveryDeps,
  settings: DeliverySettings,
  isInterrupted: LockTarget['isInterrupted'],
): Promise<MailboxAccess> {
  const lockMailbox = mailboxLocker({
    host: deps.host,
    methods: settings.locks,
    asSpoolGroup: deps.asSpoolGroup,
    stop: deps.stop,
    onLost: (mailbox, reason) => {
      deps.log.write('warn', '-', 'dotlock-lost', { mailbox, reason: reason.message });
    },
  });
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    const access = await MailboxAccess.open(path, {
      io: deps.io,
      owner: settings.owner,
      writable: true,
      lockMailbox,
      lockTimeout: settings.lockTimeout,
      isInterrupted,
      onError: error => deps.log.write('error', '-', 'unlock-failed', { reason: String(error) }),
    });
    if (access !== undefined) return access;
    await create(path, deps, settings);
  }
  throw new Unavailable('IN-USE', 'mailbox is being made and removed by other programs');
}

/**
 * Makes an empty mailbox. Not locked: an empty file harms nobody, and whoever comes second uses it.
 * @throws Unavailable SYS/PERM where we cannot make one for its owner
 */
async function create(
  path: string,
  { io, asSpoolGroup }: DeliveryDeps,
  { owner, spool, mailGroup }: DeliverySettings,
): Promise<void> {
  if (process.geteuid?.() !== owner) {
    const why = `there is none, and one made by uid ${process.geteuid?.()} would not belong to uid ${owner}`;
    throw new Unavailable('SYS/PERM', 'mailbox file cannot be created', { cause: new Error(why) });
  }
  try {
    const { mode, gid } = fs.statSync(spool);
    const forGroup = mailGroup !== undefined && gid === mailGroup && (mode & 0o2020) === 0o2020;
    const permissions = forGroup ? 0o660 : 0o600;
    const flags = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL;
    if (asSpoolGroup === undefined) await io.close(await io.open(path, flags, permissions));
    else fs.closeSync(asSpoolGroup(() => fs.openSync(path, flags, permissions)));
  } catch (cause) {
    if (errnoOf(cause) === 'EEXIST') return;
    throw new Unavailable('SYS/TEMP', 'mailbox file cannot be created', { cause });
  }
}

/** The UPDATE that was cut off before this delivery, if there is one. */
class Interrupted {
  readonly #journals: Journals;
  #giveBack: (() => void) | undefined;

  constructor(
    private readonly user: string,
    private readonly deps: DeliveryDeps,
    { stateDir, owner }: DeliverySettings,
  ) {
    const place = { io: deps.io, dir: userStateDir(stateDir, user), owner, dirIsGiven: true };
    this.#journals = { redo: new Journal(place), plan: new PlanJournal(place) };
  }

  /** Whether it is one of these, and nobody else is at it. */
  async isOneOf(updates: readonly UpdateId[]): Promise<boolean> {
    // Asked first: a session that is at it changes what would be read.
    if (!this.#isOursToFinish()) return false;
    if (await this.#ifInReach(() => holdsUpdate(this.#journals, updates))) return true;
    this.#leaveToSessions();
    return false;
  }

  /** Under the mailbox locks. A session that is there has finished it, or will when it gets them. */
  async finish(access: MailboxAccess): Promise<void> {
    if (!(await this.#isThere()) || !this.#isOursToFinish()) return;
    logRecovery(this.deps.log, this.user, await finishInterrupted(access, this.#journals));
  }

  async close(): Promise<void> {
    const { redo, plan } = this.#journals;
    this.#leaveToSessions();
    await redo.close().finally(() => plan.close());
  }

  #leaveToSessions(): void {
    this.#giveBack?.();
    this.#giveBack = undefined;
  }

  #isOursToFinish(): boolean {
    this.#giveBack ??= this.deps.tryRecoveryLock?.();
    return this.#giveBack !== undefined;
  }

  #isThere(): Promise<boolean> {
    const { redo, plan } = this.#journals;
    return this.#ifInReach(
      async () => (await redo.read()).is !== 'none' || (await plan.read()).is !== 'none',
    );
  }

  /** What the journals say; false where they are out of reach. */
  async #ifInReach(ask: () => Promise<boolean>): Promise<boolean> {
    try {
      return await ask();
    } catch (error) {
      if (['EACCES', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return false;
      throw error;
    }
  }
}

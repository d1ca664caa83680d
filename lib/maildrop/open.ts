/**
 * A mail spool: opens the maildrop of an account, and finishes what an interrupted UPDATE left behind.
 * In this order: session lock, mailbox file, mailbox locks, recovery, index. Whatever fails, everything
 * taken before is given back, and nothing in the spool has changed but what recovery did.
 */
import { join } from 'node:path';
import { Unavailable } from '../errors.js';
import type { Pool } from '../mbox/kernel/memory.js';
import { NotMbox } from '../mbox/scanner.js';
import type { Account, Holder, Maildrop, Peer } from '../pop3/ports.js';
import { Blocks } from './blocks.js';
import { removeDeadLockFiles } from './dead-lock-files.js';
import { EmptyMaildrop } from './empty-maildrop.js';
import type { RecoveryReport } from './found-journal.js';
import { IndexMemory } from './index-memory.js';
import { IndexShelf } from './index-shelf.js';
import { finishInterrupted, refuseInterrupted, unfinishedUsers } from './interrupted.js';
import { type FileStat, lookAt, type MaybeLater, whenThere } from './io.js';
import { mostEncoded } from './kept-ranges.js';
import { type LockMailbox, mailboxLocker } from './locks.js';
import { MailboxAccess } from './mailbox-access.js';
import { MboxMaildrop } from './maildrop.js';
import { turnToBegin } from './others-turn.js';
import { logRecovery } from './recovery.js';
import { DiskFailure } from './redo.js';
import { type Remembered, SessionFiles } from './session-files.js';
import { HostSessionLocks, type SessionLocks } from './session-lock.js';
import { takeSnapshot } from './snapshot.js';
import { SpoolPath } from './spool-path.js';
import type { MaildropDeps, MaildropSettings } from './spool-settings.js';
import { Takeover } from './takeover.js';
import { Unchanged } from './unchanged.js';
import { holdsUpdate } from './update-locks.js';

/** What is remembered at most of large mailboxes, of small ones, and of journals, octets: of the latter, of some thousands. */
const MOST_REMEMBERED = 4 * 1024 * 1024;

export class Spool {
  readonly #path: SpoolPath;
  /** What comes before the name of a user, whether or not the spool was given with a slash behind it. */
  readonly #prefix: string;
  readonly #lockMailbox: LockMailbox;
  readonly #sessions: SessionLocks;
  readonly #blocks: Blocks;
  readonly #remembered: Remembered;

  constructor(
    private readonly deps: MaildropDeps,
    private readonly settings: MaildropSettings,
  ) {
    const { runtimeDir: dir, takeover } = settings;
    const { host, log, becomeOwner } = deps;
    this.#path = new SpoolPath(settings.spool);
    this.#prefix = join(settings.spool, '/');
    this.#blocks = new Blocks(undefined, deps.kernel?.memory);
    const memory = deps.indexMemory ?? new IndexMemory();
    this.#remembered = {
      memory,
      shelf: new IndexShelf(memory, MOST_REMEMBERED),
      small: new Unchanged(MOST_REMEMBERED),
      idle: new Unchanged(MOST_REMEMBERED),
    };
    this.#lockMailbox =
      deps.lockMailbox ??
      mailboxLocker({
        host,
        methods: settings.locks,
        asSpoolGroup: deps.asSpoolGroup,
        onLost: (mailbox, reason) => {
          log.write('warn', '-', 'dotlock-lost', { mailbox, reason: reason.message });
        },
      });
    this.#sessions =
      deps.sessionLocks ??
      new HostSessionLocks({
        ...{ host, log, dir, perUser: becomeOwner !== undefined },
        takeover: new Takeover(dir, takeover, log),
      });
  }

  /** Where replies are best put together: memory that the kernels can write. */
  get places(): Pool | undefined {
    return this.deps.kernel?.memory.places;
  }

  /**
   * Opens the maildrop of an account for one session, which may be ended through `holder`.
   * @throws Unavailable IN-USE, SYS/TEMP or SYS/PERM
   */
  async open(account: Account, peer: Peer, holder: Holder): Promise<Maildrop> {
    const later = turnToBegin();
    if (later) await later;
    const { becomeOwner } = this.deps;
    const lately = this.#path.lately();
    const mailboxPath = `${typeof lately === 'string' ? lately : await lately}/${account.user}`;
    const files = this.#filesOf(account);
    const look = () => this.#look(mailboxPath, files);
    let named = becomeOwner === undefined ? look() : undefined;
    const session = await this.#sessions.lock(mailboxPath, { account, peer, holder }).catch(error => {
      files.state.cache.close();
      throw error;
    });
    files.lock = session;
    try {
      if (becomeOwner !== undefined) {
        await becomeOwner(account);
        named = look();
      }
      const access = await this.#openLocked(account, files, named);
      files.access = access;
      const lockedAt = performance.now();
      const finishing = this.#finishInterrupted(account, files);
      if (finishing) await finishing;
      if (access === undefined) {
        await this.#path.now();
        holder.descriptors?.rest(); // For good: a mailbox file that comes later is for the next session.
        return new EmptyMaildrop(() => files.abandon());
      }
      const snapshot = await takeSnapshot(access, files.state.cache);
      const awake = files.mayRest(access, holder.descriptors, this.#blocks);
      this.#scheduleYield(access, lockedAt);
      const ranges = mostEncoded(snapshot.index.messages, snapshot.index.size);
      const readOnly = this.settings.readOnly || account.readOnly === true;
      const maildrop = new MboxMaildrop(snapshot, files.state, {
        readOnly,
        beginUpdate: () => session.beginUpdate(),
        prepare: () => awake(() => files.prepare(ranges)),
        awake,
        release: () => files.giveBack(),
        onDiskFailure: this.deps.onDiskFailure ?? (() => {}),
        blocks: this.#blocks,
      });
      // Not at the first deletion only: who comes to empty a full disk would be too late. Nobody waits for it.
      if (!readOnly && snapshot.index.messages > 0 && !files.state.journals.plan.isMadeFor(ranges))
        void maildrop.prepare();
      return maildrop;
    } catch (error) {
      await files.abandon();
      if (error instanceof DiskFailure) this.deps.onDiskFailure?.();
      throw asUnavailable(error, becomeOwner !== undefined);
    }
  }

  /**
   * Finishes an interrupted UPDATE of one mailbox, outside a session; not while there is one.
   * @throws Unavailable when the mailbox cannot be opened or locked
   */
  async recover(account: Account): Promise<RecoveryReport> {
    const files = this.#filesOf(account);
    try {
      const release = this.#sessions.tryLock(`${await this.#path.now()}/${account.user}`);
      if (release === undefined) return { did: 'in-use' };
      files.lock = { release };
      await this.deps.becomeOwner?.(account);
      files.access = await this.#openLocked(account, files);
      const report = await finishInterrupted(files.access, files.state.journals);
      logRecovery(this.deps.log, account.user, report);
      return report;
    } catch (error) {
      if (error instanceof DiskFailure) this.deps.onDiskFailure?.();
      throw asUnavailable(error);
    } finally {
      await files.abandon();
    }
  }

  /** The users who have a journal that is not empty. */
  unfinished(): Promise<string[]> {
    return unfinishedUsers(this.deps.io, this.settings.stateDir);
  }

  #filesOf(account: Account): SessionFiles {
    return new SessionFiles(this.deps, this.settings, account, this.#remembered);
  }

  /**
   * Removes what processes of ours that were killed have left: files beside the locks of the spool, and sockets
   * beside the session locks.
   * @returns how many files and sockets
   * @throws errors of reading the directories
   */
  async clearUp(): Promise<{ readonly lockFiles: number; readonly sockets: number }> {
    const { host, log, asSpoolGroup } = this.deps;
    const { length: lockFiles } = await removeDeadLockFiles(this.settings.spool, host, asSpoolGroup);
    if (lockFiles > 0) log.write('info', '-', 'lock-files-removed', { count: lockFiles });
    const sockets = await this.#sessions.removeDeadSockets();
    if (sockets > 0) log.write('info', '-', 'sockets-removed', { count: sockets });
    return { lockFiles, sockets };
  }

  /** What is named so; meanwhile the cache is read, if it may be of that. */
  #look(mailboxPath: string, files: SessionFiles): Promise<FileStat | undefined> {
    const named = (async () => lookAt(this.deps.io, mailboxPath))();
    files.state.cache.prefetch(named);
    return named;
  }

  /** Under the session lock. */
  #openLocked(
    account: Account,
    files: SessionFiles,
    named?: Promise<FileStat | undefined>,
  ): Promise<MailboxAccess | undefined> {
    const { deps, settings } = this;
    return MailboxAccess.open(`${this.#prefix}${account.user}`, {
      io: deps.io,
      kernel: deps.kernel,
      owner: settings.ownerOf(account),
      writable: !settings.readOnly,
      lockMailbox: this.#lockMailbox,
      lockTimeout: settings.lockTimeout,
      isInterrupted: updates => holdsUpdate(files.state.journals, updates),
      onError: error => deps.log.write('error', '-', 'unlock-failed', { reason: String(error) }),
      named,
    });
  }

  /** No session starts while an UPDATE is unfinished: what it would show is neither old nor new. */
  #finishInterrupted({ user }: Account, { access, state }: SessionFiles): MaybeLater<void> {
    if (this.settings.readOnly) return refuseInterrupted(state.journals);
    return whenThere(finishInterrupted(access, state.journals), report =>
      logRecovery(this.deps.log, user, report),
    );
  }

  #scheduleYield(access: MailboxAccess, lockedAt: number): void {
    const { lockYield } = this.settings;
    if (lockYield === Number.POSITIVE_INFINITY) return;
    const left = lockYield - (performance.now() - lockedAt);
    if (left > 0) access.yieldAfter(left);
    else access.yield();
  }
}

/** @param fatal whether the session cannot go on after this */
function asUnavailable(error: unknown, fatal = false): Unavailable {
  if (error instanceof Unavailable) {
    if (error.fatal || !fatal) return error;
    return new Unavailable(error.code, error.message, { cause: error.cause, fatal });
  }
  if (error instanceof NotMbox) {
    return new Unavailable('SYS/PERM', 'mailbox file is not in mbox format', { cause: error, fatal });
  }
  return new Unavailable('SYS/TEMP', 'mailbox file cannot be read', { cause: error, fatal });
}

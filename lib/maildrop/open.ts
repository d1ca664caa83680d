/**
 * A mail spool: opens the maildrop of an account, and finishes what an interrupted UPDATE left behind.
 * In this order: session lock, mailbox file, mailbox locks, recovery, index. Whatever fails, everything
 * taken before is given back, and nothing in the spool has changed but what recovery did.
 */
import { readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { Unavailable } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Log } from '../log.js';
import type { Kernel } from '../mbox/kernel/kernel.js';
import type { Pool } from '../mbox/kernel/memory.js';
import { NotMbox } from '../mbox/scanner.js';
import type { Account, Holder, Maildrop, OpenMaildrop, Peer } from '../pop3/ports.js';
import { Blocks } from './blocks.js';
import { EmptyMaildrop } from './empty-maildrop.js';
import type { RecoveryReport } from './found-journal.js';
import { IndexCache } from './index-cache.js';
import type { FileStat, SpoolIo } from './io.js';
import { holdsJournal, Journal } from './journal.js';
import type { JournalPlace } from './journal-file.js';
import { mostEncoded } from './kept-ranges.js';
import { type LockMailbox, type LockMethod, mailboxLocker } from './locks.js';
import { MailboxAccess } from './mailbox-access.js';
import { type Awake, MboxMaildrop } from './maildrop.js';
import type { Journals } from './move-appended.js';
import type { PlanLayout } from './plan-format.js';
import { holdsPlan, PlanJournal, USUAL_LAYOUTS } from './plan-journal.js';
import { logRecovery, recover } from './recovery.js';
import { DiskFailure } from './redo.js';
import { Rest } from './rest.js';
import { HostSessionLocks, type SessionLock, type SessionLocks } from './session-lock.js';
import { takeSnapshot } from './snapshot.js';
import { Takeover } from './takeover.js';
import { UniqueIdMemory } from './unique-id-memory.js';
import { userOfStateDir, userStateDir } from './user-state-dir.js';

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
  /** The silence after which a session gives way to another of its user, milliseconds; 0 for never. */
  readonly takeover: number;
  /** Who must own the mailbox file of an account. */
  readonly ownerOf: (account: Account) => number;
  /** The smallest mailbox file whose index is kept for the next session, octets; Infinity for none. */
  readonly indexCache: number;
}

export interface MaildropDeps {
  readonly io: SpoolIo;
  readonly host: Host;
  readonly log: Log;
  /** Undefined for the twins in TypeScript. */
  readonly kernel?: Kernel | undefined;
  /** Told when the disk does not take what it was given: then this process should end. */
  readonly onDiskFailure?: (() => void) | undefined;
  /**
   * Called with the session lock held and before the mailbox is opened: where a process becomes the user.
   * It makes `STATE/USER`, durably. From then on the process can open no other mailbox, so a failure ends
   * the session.
   */
  readonly becomeOwner?: ((account: Account) => Promise<void>) | undefined;
  /** How much of the disk is set aside for each user who deletes; tests take less. */
  readonly planLayouts?: readonly PlanLayout[] | undefined;
  /** See `DotlockOptions`. */
  readonly asSpoolGroup?: (<T>(run: () => T) => T) | undefined;
  /** How sessions keep each other out; tests without a real disk have others. */
  readonly sessionLocks?: SessionLocks | undefined;
}

/** How long the spool is known by the same path, milliseconds. */
const RESOLVED_FOR = 1000;

/** Makes the function by which the protocol opens maildrops. */
export function maildropOpener(deps: MaildropDeps, settings: MaildropSettings): OpenMaildrop {
  const spool = new Spool(deps, settings);
  return (account, peer, holder) => spool.open(account, peer, holder);
}

export class Spool {
  readonly #lockMailbox: LockMailbox;
  readonly #sessions: SessionLocks;
  #resolved: { readonly path: string; readonly until: number } | undefined;
  readonly #blocks: Blocks;

  constructor(
    private readonly deps: MaildropDeps,
    private readonly settings: MaildropSettings,
  ) {
    this.#blocks = new Blocks(undefined, deps.kernel?.memory);
    this.#lockMailbox = mailboxLocker({
      host: deps.host,
      methods: settings.locks,
      asSpoolGroup: deps.asSpoolGroup,
      onLost: (mailbox, reason) => {
        deps.log.write('warn', '-', 'dotlock-lost', { mailbox, reason: reason.message });
      },
    });
    const { runtimeDir: dir, takeover } = settings;
    const { host, log, becomeOwner } = deps;
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
    const { deps, settings } = this;
    const mailboxPath = join(await this.#resolveSpool(), account.user);
    const journals = this.#journalsOf(account);
    const cache = this.#cacheOf(account);
    const look = () => {
      const named = deps.io.lstat(mailboxPath);
      cache.prefetch(named);
      return named;
    };
    let named = deps.becomeOwner === undefined ? look() : undefined;
    const session = await this.#sessions.lock(mailboxPath, { account, peer, holder });
    let access: MailboxAccess | undefined;
    const release = () => this.#giveBack(journals, access, session);
    try {
      if (deps.becomeOwner !== undefined) {
        await deps.becomeOwner(account);
        named = look();
      }
      access = await this.#openLocked(account, named);
      const lockedAt = performance.now();
      await this.#finishInterrupted(account, access, journals);
      if (access === undefined) {
        await resolveSpool(settings.spool);
        holder.descriptors?.rest(); // For good: a mailbox file that comes later is for the next session.
        return new EmptyMaildrop(release);
      }
      const snapshot = await takeSnapshot(access, cache);
      const awake = this.#mayRest(access, journals, holder);
      this.#scheduleYield(access, lockedAt);
      const memory = new UniqueIdMemory(deps.io, userStateDir(settings.stateDir, account.user));
      const ranges = mostEncoded(snapshot.index.messages, snapshot.index.size);
      const readOnly = settings.readOnly || account.readOnly === true;
      const maildrop = new MboxMaildrop(
        snapshot,
        { journals, memory, cache },
        {
          readOnly,
          beginUpdate: () => session.beginUpdate(),
          prepare: () => awake(() => this.#prepare(account, journals, ranges)),
          awake,
          release,
          onDiskFailure: deps.onDiskFailure ?? (() => {}),
          blocks: this.#blocks,
        },
      );
      // Not at the first deletion only: who comes to empty a full disk would be too late. Nobody waits for it.
      if (!readOnly && snapshot.index.messages > 0 && !journals.plan.isMadeFor(ranges))
        void maildrop.prepare();
      return maildrop;
    } catch (error) {
      await release();
      if (error instanceof DiskFailure) deps.onDiskFailure?.();
      throw asUnavailable(error, deps.becomeOwner !== undefined);
    }
  }

  /**
   * Finishes an interrupted UPDATE of one mailbox, outside a session.
   * @throws Unavailable when the mailbox cannot be opened or locked
   */
  async recover(account: Account): Promise<RecoveryReport> {
    const journals = this.#journalsOf(account);
    let access: MailboxAccess | undefined;
    try {
      await resolveSpool(this.settings.spool);
      await this.deps.becomeOwner?.(account);
      access = await this.#openLocked(account);
      const report = await recoverUnder(access, journals);
      logRecovery(this.deps.log, account.user, report);
      return report;
    } catch (error) {
      if (error instanceof DiskFailure) this.deps.onDiskFailure?.();
      throw asUnavailable(error);
    } finally {
      await this.#giveBack(journals, access);
    }
  }

  /** The users who have a journal that is not empty. */
  async unfinished(): Promise<string[]> {
    const { io } = this.deps;
    const found: string[] = [];
    for (const entry of await readdir(this.settings.stateDir, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const dir = join(this.settings.stateDir, entry.name);
      if ((await holdsJournal(io, dir)) || (await holdsPlan(io, dir))) {
        found.push(userOfStateDir(entry.name));
      }
    }
    return found.sort();
  }

  /**
   * Lets an idle session do without descriptors, where they are counted. A process that has become its user has no
   * other session.
   * @returns runs what needs them
   */
  #mayRest(access: MailboxAccess, { redo, plan }: Journals, { descriptors }: Holder): Awake {
    if (descriptors === undefined || this.deps.becomeOwner !== undefined) return work => work();
    const rest = new Rest(descriptors, this.#blocks, async () => {
      for (const step of [() => access.file.letGo(), () => redo.close(), () => plan.close()]) {
        await step().catch(error => {
          this.deps.log.write('error', '-', 'close-failed', { reason: String(error) });
        });
      }
    });
    access.file.rest = rest;
    return work => rest.use(work);
  }

  /** As it was found not long ago: whoever finds no mailbox looks again whether there is a spool. */
  async #resolveSpool(): Promise<string> {
    const now = performance.now();
    if (this.#resolved === undefined || this.#resolved.until <= now) {
      this.#resolved = { path: await resolveSpool(this.settings.spool), until: now + RESOLVED_FOR };
    }
    return this.#resolved.path;
  }

  #journalsOf(account: Account): Journals {
    const { deps, settings } = this;
    const place: JournalPlace = {
      io: deps.io,
      dir: userStateDir(settings.stateDir, account.user),
      owner: settings.ownerOf(account),
      dirIsGiven: deps.becomeOwner !== undefined,
    };
    const plan = new PlanJournal(place, deps.planLayouts ?? USUAL_LAYOUTS);
    return { redo: new Journal(place), plan };
  }

  #cacheOf(account: Account): IndexCache {
    const { deps, settings } = this;
    const dir = userStateDir(settings.stateDir, account.user);
    const owner = settings.ownerOf(account);
    return new IndexCache({ ...deps, dir, owner, least: settings.indexCache });
  }

  /**
   * Makes both journals, for the first session or a mailbox that has grown much. That this fails on a full
   * disk is no reason to refuse anything: the last messages need none, and there may be room by the time of
   * UPDATE.
   */
  async #prepare({ user }: Account, { redo, plan }: Journals, ranges: number): Promise<void> {
    for (const step of [() => plan.prepare(ranges), () => redo.prepare(), () => redo.close()]) {
      await step().catch(error => {
        this.deps.log.write('debug', '-', 'journal-not-prepared', { user, reason: String(error) });
      });
    }
  }

  #openLocked(account: Account, named?: Promise<FileStat>): Promise<MailboxAccess | undefined> {
    const { deps, settings } = this;
    return MailboxAccess.open(join(settings.spool, account.user), {
      io: deps.io,
      kernel: deps.kernel,
      owner: settings.ownerOf(account),
      writable: !settings.readOnly,
      lockMailbox: this.#lockMailbox,
      lockTimeout: settings.lockTimeout,
      onError: error => deps.log.write('error', '-', 'unlock-failed', { reason: String(error) }),
      named,
    });
  }

  /**
   * Gives back everything a session holds, also when one of them fails: close(2) frees the descriptor
   * whatever it says, and what had to be on the disk was synced before, so the client is told nothing.
   */
  async #giveBack({ redo, plan }: Journals, access?: MailboxAccess, session?: SessionLock): Promise<void> {
    const steps = [() => redo.close(), () => plan.close(), () => access?.close(), () => session?.release()];
    for (const step of steps) {
      try {
        await step();
      } catch (error) {
        this.deps.log.write('error', '-', 'close-failed', { reason: String(error) });
      }
    }
  }

  /** No session starts while an UPDATE is unfinished: what it would show is neither old nor new. */
  async #finishInterrupted(
    account: Account,
    access: MailboxAccess | undefined,
    journals: Journals,
  ): Promise<void> {
    if (!this.settings.readOnly) {
      logRecovery(this.deps.log, account.user, await recoverUnder(access, journals));
      return;
    }
    const states = [await journals.redo.read(), await journals.plan.read()];
    if (!states.some(({ is }) => is === 'committed' || is === 'other')) return;
    throw new Unavailable('SYS/TEMP', 'an update of this mailbox was interrupted', {
      cause: new Error('a read-only server cannot finish it: run mbox-pop3d recover'),
    });
  }

  #scheduleYield(access: MailboxAccess, lockedAt: number): void {
    const { lockYield } = this.settings;
    if (lockYield === Number.POSITIVE_INFINITY) return;
    const left = lockYield - (performance.now() - lockedAt);
    if (left > 0) access.yieldAfter(left);
    else access.yield();
  }
}

function recoverUnder(access: MailboxAccess | undefined, journals: Journals): Promise<RecoveryReport> {
  return recover(access?.file, journals, async () => access?.mustBeIntact());
}

/** A spool that is not there is not an empty spool: its file system may not be mounted. */
async function resolveSpool(spool: string): Promise<string> {
  try {
    return await realpath(spool);
  } catch (cause) {
    throw new Unavailable('SYS/TEMP', 'mail spool is not available', { cause });
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

/**
 * The files that one session has open, mailbox and journals: made known, prepared, closed while the session rests, and
 * given back with its locks at its end.
 *
 * Invariant: giving back goes on whatever fails. close(2) frees the descriptor whatever it says, and what had to be on
 * the disk was synced before, so the client is told nothing.
 */
import type { Account, SessionDescriptors } from '../pop3/ports.js';
import type { Blocks } from './blocks.js';
import { IndexCache, type SmallIndex } from './index-cache.js';
import type { IndexMemory } from './index-memory.js';
import type { IndexShelf } from './index-shelf.js';
import { Journal } from './journal.js';
import type { JournalPlace } from './journal-file.js';
import type { MailboxAccess } from './mailbox-access.js';
import type { Awake } from './maildrop.js';
import { PlanJournal, USUAL_LAYOUTS } from './plan-journal.js';
import { Rest } from './rest.js';
import type { SessionLock } from './session-lock.js';
import type { MaildropDeps, MaildropSettings } from './spool-settings.js';
import type { Unchanged } from './unchanged.js';
import { UniqueIdMemory } from './unique-id-memory.js';
import type { UserState } from './update.js';
import { userStateDir } from './user-state-dir.js';

/** What the sessions of a process leave to the next in memory. */
export interface Remembered {
  /** For the indexes of large mailboxes. */
  readonly memory: IndexMemory;
  /** Those that were used last. */
  readonly shelf: IndexShelf;
  /** The indexes of small ones. */
  readonly small: Unchanged<SmallIndex>;
  /** Journals in which nothing was found. */
  readonly idle: Unchanged<true>;
}

export class SessionFiles {
  /** What there is in `STATE/USER`. */
  readonly state: UserState;
  /** What was taken, to be given back: undefined until it is. */
  access: MailboxAccess | undefined;
  lock: Pick<SessionLock, 'release'> | undefined;

  constructor(
    private readonly deps: MaildropDeps,
    settings: Pick<MaildropSettings, 'stateDir' | 'ownerOf' | 'indexCache'>,
    private readonly account: Account,
    { memory, shelf, small, idle }: Remembered,
  ) {
    const { io, log, kernel, becomeOwner, planLayouts = USUAL_LAYOUTS } = deps;
    const dir = userStateDir(settings.stateDir, account.user);
    const owner = settings.ownerOf(account);
    const place: JournalPlace = { io, dir, owner, dirIsGiven: becomeOwner !== undefined, idle };
    this.state = {
      journals: { redo: new Journal(place), plan: new PlanJournal(place, planLayouts) },
      memory: new UniqueIdMemory(io, dir),
      cache: new IndexCache({
        ...{ io, dir, owner, memory, shelf, small, log, kernel },
        least: settings.indexCache,
      }),
    };
  }

  /**
   * Makes both journals, for the first session or a mailbox that has grown much. That this fails on a full
   * disk is no reason to refuse anything: the last messages need none, and there may be room by the time of
   * UPDATE.
   * @param ranges kept ranges that the plan must have room for
   */
  async prepare(ranges: number): Promise<void> {
    const { redo, plan } = this.state.journals;
    const { user } = this.account;
    for (const step of [() => plan.prepare(ranges), () => redo.prepare(), () => redo.close()]) {
      await step().catch(error => {
        this.deps.log.write('debug', '-', 'journal-not-prepared', { user, reason: String(error) });
      });
    }
  }

  /**
   * Lets an idle session do without descriptors, where they are counted. A process that has become its user has no
   * other session.
   * @returns runs what needs them
   */
  mayRest(access: MailboxAccess, descriptors: SessionDescriptors | undefined, blocks: Blocks): Awake {
    if (descriptors === undefined || this.deps.becomeOwner !== undefined) return work => work();
    const { redo, plan } = this.state.journals;
    const rest = new Rest(descriptors, blocks, () =>
      this.#all([() => access.file.letGo(), () => redo.close(), () => plan.close()]),
    );
    access.file.rest = rest;
    return work => rest.use(work);
  }

  /** There is no session: gives back everything. */
  abandon(): Promise<void> {
    this.state.cache.close();
    return this.giveBack();
  }

  /** Gives back the files and the locks, the session lock last. What was recalled from the cache is good until that is closed. */
  giveBack(): Promise<void> {
    const { redo, plan } = this.state.journals;
    return this.#all([
      () => redo.close(),
      () => plan.close(),
      () => this.access?.close(),
      () => this.lock?.release(),
    ]);
  }

  async #all(steps: readonly (() => Promise<void> | void)[]): Promise<void> {
    for (const step of steps) {
      try {
        const done = step();
        if (done) await done;
      } catch (error) {
        this.deps.log.write('error', '-', 'close-failed', { reason: String(error) });
      }
    }
  }
}

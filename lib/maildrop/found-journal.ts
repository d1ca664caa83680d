/**
 * What is done the same about a journal of either kind that is found beside a mailbox: one that is not to be
 * acted on is left or kept, one that is to be acted on is first made durable.
 */
import { Unavailable } from '../errors.js';
import type { MailboxFile } from './mailbox-file.js';
import { DiskFailure } from './redo.js';
import type { UpdateLocks } from './update-locks.js';

/** What recovery found and did; `path` is where a journal was kept. */
export type RecoveryReport =
  | { readonly did: 'nothing' }
  /** Somebody else has the session lock: he finishes it, or has. */
  | { readonly did: 'in-use' }
  | { readonly did: 'finished' }
  | { readonly did: 'kept'; readonly reason: string; readonly path: string }
  | { readonly did: 'ignored'; readonly reason: string; readonly path: string }
  | { readonly did: 'set-aside'; readonly reason: string; readonly path: string; readonly salvaged: number };

export interface FoundJournal {
  readonly path: string;
  /** Makes durable what was read. */
  secure(): Promise<void>;
  /** @returns the path it is kept under */
  setAside(why: string): Promise<string>;
}

/** `other` is of another version, `torn` was never completed, `foreign` is none of ours. */
export interface Unusable {
  readonly is: 'torn' | 'other' | 'foreign';
  readonly reason: string;
}

/**
 * Nothing in the mailbox is changed by a journal that cannot be read.
 * @throws Unavailable SYS/TEMP when it is of another version: then nobody may touch the mailbox
 */
export async function leaveUnused(journal: FoundJournal, { is, reason }: Unusable): Promise<RecoveryReport> {
  switch (is) {
    case 'foreign':
      return { did: 'ignored', reason, path: journal.path };
    case 'other':
      throw new Unavailable('SYS/TEMP', 'an update of this mailbox was interrupted', {
        cause: new Error(`${journal.path}: ${reason}`),
      });
    case 'torn':
      return { did: 'set-aside', reason, path: await journal.setAside('torn'), salvaged: 0 };
  }
}

/** A mailbox may come back: moved away for a moment, or of a file system that is not mounted yet. */
export function keepWithoutMailbox({ path }: FoundJournal): RecoveryReport {
  return { did: 'kept', reason: 'the mailbox file is not there', path };
}

/** A killed process may have left journal and mailbox not yet on the disk. @throws DiskFailure */
export async function makeDurable(journal: FoundJournal, { io, fd }: MailboxFile): Promise<void> {
  try {
    await journal.secure();
    await io.sync(fd);
  } catch (cause) {
    throw new DiskFailure(cause);
  }
}

/** For a mailbox that another program has rewritten: nothing in it is overwritten. */
export async function setAsideForConflict(
  journal: FoundJournal,
  locks: UpdateLocks,
  reason: string,
  salvaged: number,
): Promise<RecoveryReport> {
  locks.updated();
  return { did: 'set-aside', reason, path: await journal.setAside('conflict'), salvaged };
}

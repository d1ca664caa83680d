/**
 * What a session leaves of its index to the next, in memory, and in the file if that spares more than the writing takes.
 * No client waits for it: its session is over, and the mailbox may be another's by now.
 */
import type { Marked } from '../mbox/compaction.js';
import { withoutMarked } from '../mbox/index-rows.js';
import type { MailboxIndex } from '../mbox/mailbox-index.js';
import { IDENTITY } from '../mbox/unique-id.js';
import type { IndexCache } from './index-cache.js';
import type { FileStat } from './io.js';
import type { MailboxFile } from './mailbox-file.js';
import { isProven, type Snapshot } from './snapshot.js';

export interface Leftover {
  readonly snapshot: Snapshot;
  /** Whether what the snapshot says was found to be wrong, or may be. */
  readonly doubtful: boolean;
  /** What the unique-ids were made of that were told: `KeptIndex.identities` of the first messages. */
  readonly identities: Buffer | undefined;
  readonly updated: Updated | undefined;
}

export interface Updated {
  /** What UPDATE has cut the marked messages out of. */
  readonly index: MailboxIndex;
  readonly marked: Marked;
  /** The file after that, looked at under the locks: from there on it was somebody else's turn... */
  readonly stat: FileStat;
  /** ...and when that was, milliseconds since 1970. */
  readonly seenAt: number;
}

/** Never throws. */
export async function keepIndex(cache: IndexCache, leftover: Leftover): Promise<void> {
  const { snapshot, doubtful, identities, updated } = leftover;
  if (doubtful) {
    // The next session shall not believe it as well.
    cache.forget(snapshot.access.file.path);
    return cache.takes(snapshot.index) ? cache.drop() : undefined;
  }
  if (updated !== undefined) return keepUpdated(cache, leftover, updated);
  const computed = ((identities?.length ?? 0) - snapshot.identities.length) / IDENTITY;
  if (!cache.takes(snapshot.index)) return rememberSmall(cache, leftover, computed);
  if (!cache.isWorth(snapshot.index, snapshot.scanned, computed)) return cache.shelve();
  const { index, stat, seenAt } = snapshot;
  await cache.keep({ index, identities: known(leftover), proven: isProven(snapshot), stat, seenAt });
}

/** @param computed identities that are new */
function rememberSmall(cache: IndexCache, leftover: Leftover, computed: number): void {
  const { snapshot } = leftover;
  if (!isProven(snapshot) || (snapshot.exact && computed <= 0)) return;
  const { access, index, stat, seenAt } = snapshot;
  cache.remember(access.file.path, stat, seenAt, { index, identities: known(leftover) });
}

/**
 * After an UPDATE the next session would have to read all of the file, since it has shrunk. What is kept is
 * believed only: in the same tick of the clock somebody else may change the file, and it would look the same.
 */
async function keepUpdated(
  cache: IndexCache,
  leftover: Leftover,
  { index, marked, stat, seenAt }: Updated,
): Promise<void> {
  const left = withoutMarked(index, marked);
  if (!cache.takes(left)) return cache.takes(leftover.snapshot.index) ? cache.drop() : undefined;
  const all = known(leftover);
  const kept: Buffer[] = [];
  for (let n = 1; n * IDENTITY <= all.length; n++) {
    if (!marked.has(n)) kept.push(all.subarray((n - 1) * IDENTITY, n * IDENTITY));
  }
  await cache.keep({ index: left, identities: Buffer.concat(kept), proven: false, stat, seenAt });
}

/** The file after UPDATE, under the locks. Where even that fails, it is as before, and the times will not fit. */
export async function lookedAt(file: MailboxFile, before: FileStat): Promise<FileStat> {
  try {
    return await file.stat();
  } catch {
    return before;
  }
}

function known({ snapshot, identities }: Leftover): Buffer {
  return identities ?? snapshot.identities;
}

/**
 * The mailbox file as a session sees it: its index, and what that index is worth. One that was made now, under
 * the locks, is true. One from the cache is true if the file is exactly the one it was made from, and believed
 * if that has grown since: then each message is looked at before it is used, and if one is not what its row
 * says, all of the file is indexed after all. What was said to the client must still be true then, or the
 * session ends.
 */
import { crc32 } from 'node:zlib';
import { Unavailable } from '../errors.js';
import type { Extent, MailboxIndex } from '../mbox/mailbox-index.js';
import { IDENTITY } from '../mbox/unique-id.js';
import type { IndexCache } from './index-cache.js';
import type { FileStat } from './io.js';
import type { MailboxAccess } from './mailbox-access.js';
import { changeBetween, type MailboxFile } from './mailbox-file.js';

/** Octets read, and checked, at a time. */
export const READ_CHUNK = 64 * 1024;

/** Indexing again this often, a mailbox that changes under our locks is given up. */
const SCAN_TRIES = 3;

/** The clock of a file system that has fractions of a second does not tick slower, milliseconds... */
const CLOCK_TICK = 20;
/** ...nor does that of one that has none, such as ext3. */
const WHOLE_SECONDS = 2000;

export interface Snapshot {
  readonly access: MailboxAccess;
  readonly index: MailboxIndex;
  /** The file as it was when indexed... */
  readonly stat: FileStat;
  /** ...and when that was, milliseconds since 1970. */
  readonly seenAt: number;
  /**
   * Whether its change time was far enough in the past: a rewrite in the same tick of the file system's
   * clock would leave the same times, so until then equal times prove nothing.
   */
  readonly settled: boolean;
  /** How many messages, from the first on, the cache knew. */
  readonly believed: number;
  /** Whether it knew them of exactly this file. */
  readonly exact: boolean;
  /** Identities of the first messages, from the cache (`KeptIndex.identities`). */
  readonly identities: Buffer;
  /** Octets of the file that were read for it. */
  readonly scanned: number;
}

/**
 * Indexes the file; again if a program that takes none of our locks changed it meanwhile.
 * @param cache asked once, unless undefined
 * @throws Unavailable IN-USE when it does not hold still
 */
export async function takeSnapshot(access: MailboxAccess, cache?: IndexCache): Promise<Snapshot> {
  const { file } = access;
  for (let attempt = 1; attempt <= SCAN_TRIES; attempt++) {
    const seenAt = Date.now();
    const looked = file.stat();
    const stat = looked instanceof Promise ? await looked : looked;
    const known = attempt === 1 ? cache?.recall(file, stat) : undefined;
    const recalled = known instanceof Promise ? await known : known;
    const index = recalled?.index ?? (await file.scan({ size: stat.size }));
    // Of a file of which nothing was read, the look before is as good as another.
    const held = recalled?.exact || changeBetween(stat, await file.stat()) === 'same';
    if (index.size === stat.size && held) {
      const { believed = 0, exact = false, identities = NONE, scanned = index.size } = recalled ?? {};
      const settled = isSettled(stat, seenAt);
      return { access, index, stat, seenAt, settled, believed, exact, identities, scanned };
    }
  }
  throw new Unavailable('IN-USE', 'mailbox is being changed by a program that does not lock it');
}

/** Whether whatever changes the file after `seenAt`, milliseconds since 1970, gives it another ctime. */
export function isSettled({ ctimeNs }: Pick<FileStat, 'ctimeNs'>, seenAt: number): boolean {
  const tick = ctimeNs % 1_000_000_000n === 0n ? WHOLE_SECONDS : CLOCK_TICK;
  return seenAt - Number(ctimeNs / 1_000_000n) > tick;
}

const NONE = Buffer.alloc(0);

/** Whether every row is known to be true of the file as it is, so that the next session may use them unseen. */
export function isProven({ believed, exact, settled }: Snapshot): boolean {
  return exact || (believed === 0 && settled);
}

/** What the cache knew of the unique-id of message n: its identity, if it did. */
export function keptIdentity({ identities }: Snapshot, n: number): string | undefined {
  const at = (n - 1) * IDENTITY;
  return at < identities.length ? identities.toString('hex', at, at + IDENTITY) : undefined;
}

/** Whether the From_ line and the header in the file are those that were indexed. */
export async function hasHeaderOf(file: MailboxFile, { start, body, headerCrc }: Extent): Promise<boolean> {
  let crc = 0;
  for (let position = start; position < body; ) {
    const chunk = await file.read(position, Math.min(body, position + READ_CHUNK));
    if (chunk.length === 0) return false;
    crc = crc32(chunk, crc);
    position += chunk.length;
  }
  return crc === headerCrc;
}

/** Whether another index of the file says the same of the first `count` messages, as far as clients are told. */
export function saysTheSame(told: MailboxIndex, now: MailboxIndex, count: number): boolean {
  if (now.messages < count) return false;
  for (let n = 1; n <= count; n++) if (told.octets(n) !== now.octets(n)) return false;
  return true;
}

/** Whether a message is where it was, with the same header. */
export function beginsAsItDid(was: Extent, is: Extent): boolean {
  return was.start === is.start && was.headerCrc === is.headerCrc;
}

/** Whether a message is where it was, as a whole. */
export function isWhereItWas(was: Extent, is: Extent): boolean {
  return beginsAsItDid(was, is) && was.end === is.end;
}

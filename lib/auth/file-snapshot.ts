/**
 * Reads a small file that somebody may be writing at this moment, and tells later whether it is still
 * the same. A file just touched is read only when it has stood still for SETTLE_MS, so that neither a
 * half-written file nor a second change within one tick of its timestamp is taken for the whole.
 */
import { type BigIntStats, constants, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

const SETTLE_MS = 100;
/** A file that never stands still is given up after so many looks. */
const MAX_LOOKS = 20;

export interface Snapshot {
  readonly content: Buffer;
  readonly identity: string;
  /** Read so soon after a change that another might not show in `identity`. */
  readonly fresh: boolean;
}

/**
 * What changes whenever the content does, or the file is replaced. Throws as stat(2) does. Asked at each login, so what
 * stat(2) tells is in memory, and takes a microsecond: at once, and not through libuv's pool, which takes twenty.
 */
export function fileIdentity(path: string): string {
  return identityOf(statSync(path, { bigint: true }));
}

/** Reads the file as it is now. Rejects as open(2) and read(2) do, and when it is not a regular file. */
export async function readNow(path: string): Promise<Snapshot> {
  // O_NONBLOCK: a FIFO would wait for its writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    // Of the open file and before reading: whatever happens from here on shows as a change.
    const stats = await file.stat({ bigint: true });
    if (!stats.isFile()) throw new Error('not a regular file');
    const age = Math.abs(Date.now() - Number(stats.ctimeMs));
    return { content: await file.readFile(), identity: identityOf(stats), fresh: age < SETTLE_MS };
  } finally {
    await file.close();
  }
}

/** Reads the file once it has stood still. Rejects like `readNow`, and when it never does. */
export async function readSettled(path: string): Promise<Snapshot> {
  for (let look = 0; look < MAX_LOOKS; look += 1) {
    const before = fileIdentity(path);
    await delay(SETTLE_MS);
    if (fileIdentity(path) !== before) continue;
    const snapshot = await readNow(path);
    if (snapshot.identity === before && fileIdentity(path) === before) {
      return { ...snapshot, fresh: false };
    }
  }
  throw new Error('the file does not stop changing');
}

function identityOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(':');
}

/**
 * What the two kinds of journal have in common as files in `STATE/USER`: opened without being believed,
 * made durable as found, kept aside for a human. A file that others may write, or that is not what it
 * seems, is never read, written or removed.
 */
import { constants } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from '../errors.js';
import { type FileStat, lookAt, type SpoolIo, syncDirectory, writeFully } from './io.js';
import { octetsOf } from './ranges.js';
import type { Unchanged } from './unchanged.js';

/** Where journals are, and whose. */
export interface JournalPlace {
  readonly io: SpoolIo;
  /** `STATE/USER`; made when first needed. */
  readonly dir: string;
  /** Who may own the files besides ourselves. */
  readonly owner: number;
  /** Whether root has made `dir` and its name durable: then its parent is none of our business. */
  readonly dirIsGiven: boolean;
  /** Journals in which nothing was found. */
  readonly idle?: Unchanged<true> | undefined;
}

/** What there is under a journal's name. */
export type Opened =
  | { readonly fd: number; readonly size: number; readonly stat: FileStat }
  | { readonly foreign: string }
  | { readonly missing: true };

/**
 * Opens a journal for reading and writing. A foreign one is closed again, so that nothing is written to it.
 * @param seen whether another file of `dir` was looked for a moment ago
 */
export async function openJournalFile(
  { io, owner }: JournalPlace,
  path: string,
  seen = false,
): Promise<Opened> {
  let fd: number;
  try {
    fd = await io.open(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0, seen);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return { missing: true };
    if (errnoOf(error) === 'ELOOP') return { foreign: 'it is a symbolic link' };
    throw error;
  }
  try {
    const stat = await io.fstat(fd);
    const foreign = whyForeign(stat, owner);
    if (foreign === undefined) return { fd, size: stat.size, stat };
    await io.close(fd);
    return { foreign };
  } catch (error) {
    await io.close(fd).catch(() => {}); // The first error tells more; the descriptor is free either way.
    throw error;
  }
}

/** Why a file is not ours to read or write; undefined when it is. */
export function whyForeign(stat: FileStat, owner: number): string | undefined {
  if (stat.kind !== 'file') return 'it is not a regular file';
  if (stat.nlink !== 1) return `it has ${stat.nlink} links`;
  if (stat.uid !== owner && stat.uid !== process.geteuid?.()) return `it is owned by uid ${stat.uid}`;
  if ((stat.mode & 0o022) !== 0) return 'others may write it';
  return undefined;
}

/** Whether an open file is still the one that its name leads to. */
export async function isNamed(io: SpoolIo, path: string, fd: number): Promise<boolean> {
  const named = await lookAt(io, path);
  const ours = await io.fstat(fd);
  return named?.dev === ours.dev && named.ino === ours.ino;
}

/** Makes `STATE/USER`, durably: also if it was there, whoever made it may have been killed before this. */
export async function makeDirectory({ io, dir, dirIsGiven }: JournalPlace): Promise<void> {
  if (dirIsGiven) return;
  if (!(await exists(io, dir))) await io.mkdir(dir, 0o700);
  await syncDirectory(io, dirname(dir));
}

/**
 * Makes durable what was found in a journal. Whoever wrote it may have been killed before its fsync(2), or
 * because that failed: then what we read is in memory only, and marked as if it were not, so that another
 * fsync(2) alone would prove nothing. Each octet is written over itself, which no crash can tear.
 */
export async function secureFile({ io, dir }: JournalPlace, fd: number): Promise<void> {
  const { size } = await io.fstat(fd);
  let at = 0;
  for await (const octets of octetsOf(io, [{ fd, start: 0, end: size }])) {
    await writeFully(io, fd, octets, at);
    at += octets.length;
  }
  await io.sync(fd);
  await syncDirectory(io, dir);
}

/** Gives a file a name that is not taken, for a human. @returns its path */
export async function renameAside({ io, dir }: JournalPlace, path: string, why: string): Promise<string> {
  for (let n = 1; ; n++) {
    const aside = `${path}.${why}${n === 1 ? '' : `.${n}`}`;
    if (await exists(io, aside)) continue;
    await io.rename(path, aside);
    await syncDirectory(io, dir);
    return aside;
  }
}

export async function exists(io: SpoolIo, path: string): Promise<boolean> {
  return (await lookAt(io, path)) !== undefined;
}

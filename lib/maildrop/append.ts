/**
 * Appends one message to a mailbox file, under its locks: all of it, on the disk, or nothing. Whatever
 * fails on the way, the file is cut back to the length it had; but never when anything has come behind
 * what we wrote, or when the locks are not ours any more, for then the end of the file is somebody else's.
 *
 * Written through a descriptor of its own, opened for appending: should a lock be broken while we are
 * stopped, what another program has delivered meanwhile is not overwritten. (pwrite(2) appends to such a
 * file on Linux, wherever it is told to write.)
 */
import { constants } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, Unavailable } from '../errors.js';
import { CR, LF } from '../mbox/bytes.js';
import { NotMbox, Scanner } from '../mbox/scanner.js';
import { type SpoolIo, syncDirectory, writeFully } from './io.js';
import type { MailboxAccess } from './mailbox-access.js';
import type { MailboxFile } from './mailbox-file.js';

/** Octets looked at for the first line: more than a From_ line takes. */
const FIRST_LOOK = 4096;
const SECOND = 1_000_000_000n;

export interface Message {
  /** With its LF; asked for when the locks are ours, as it says when that was. */
  readonly fromLine: () => Uint8Array;
  /** As it will stand in the file, with the empty line after it. */
  readonly pieces: () => AsyncIterable<Uint8Array>;
}

export interface AppendHooks {
  /** Asked between two writes; throws when the delivery is to be given up. */
  readonly stop: () => void;
  /** Told of a failure that changes nothing: what had to be on the disk was synced, or undone, before. */
  readonly onError: (error: unknown) => void;
}

/** Thrown when the file could not be cut back: a part of the message stays at its end. */
export class PartLeft extends Error {
  override readonly name = 'PartLeft';
}

/**
 * @returns octets appended, with the From_ line and what was missing at the end before
 * @throws Unavailable SYS/PERM for a file that is no mailbox, SYS/TEMP when the locks were lost
 * @throws PartLeft when it failed and could not be undone; else the error of the system call
 */
export async function append(
  access: MailboxAccess,
  message: Message,
  { stop, onError }: AppendHooks,
): Promise<number> {
  const { file } = access;
  const size = await mustBeMbox(file);
  const lead = Buffer.concat([await gapAfter(file, size), message.fromLine()]);
  const tail = await openTail(file);
  const appending = new Appending(access, tail, size);
  try {
    await appending.write(lead, message.pieces(), stop);
    await seemNew(file.io, tail);
    await file.io.sync(tail);
    if (size === 0) await syncName(file);
  } catch (error) {
    await appending.undo(error);
    throw error;
  } finally {
    await file.io.close(tail).catch(onError);
  }
  return appending.written;
}

class Appending {
  /** Octets written so far, as far as we know. */
  written = 0;

  constructor(
    private readonly access: MailboxAccess,
    private readonly tail: number,
    private readonly before: number,
  ) {}

  async write(lead: Buffer, pieces: AsyncIterable<Uint8Array>, stop: () => void): Promise<void> {
    let waiting: Buffer | undefined = lead;
    for await (const piece of pieces) {
      stop();
      // The first piece goes with the From_ line: a short message is one write(2).
      await this.#writeOne(waiting === undefined ? piece : Buffer.concat([waiting, piece]));
      waiting = undefined;
    }
    await this.#mustBeAt(this.before + this.written);
  }

  /** @throws PartLeft */
  async undo(cause: unknown): Promise<void> {
    const { io } = this.access.file;
    try {
      const { size } = await io.fstat(this.tail);
      if (size <= this.before) return;
      if (!this.access.held) throw new Error('another program took the mailbox lock away');
      if (size > this.before + this.written) throw new Error('another program has appended to the mailbox');
      await io.truncate(this.tail, this.before);
      await io.sync(this.tail);
    } catch (error) {
      throw new PartLeft(`a part of the message is left at offset ${this.before} of the mailbox`, {
        cause: new AggregateError([cause, error], `${reasonOf(cause)}; then ${reasonOf(error)}`),
      });
    }
  }

  async #writeOne(octets: Uint8Array): Promise<void> {
    await this.#mustBeAt(this.before + this.written);
    const at = this.before + this.written;
    // Counted before: a write that fails may have written a part of it.
    this.written += octets.length;
    await writeFully(this.access.file.io, this.tail, octets, at);
  }

  /** Whether the locks are ours still, and the end of the file is where we left it. */
  async #mustBeAt(size: number): Promise<void> {
    await this.access.mustBeIntact();
    const now = await this.access.file.io.fstat(this.tail);
    if (now.size !== size) throw new Unavailable('SYS/TEMP', 'mailbox was changed by another program');
  }
}

/**
 * Whether it begins as a mailbox does; empty lines in front do not matter.
 * @returns its size
 */
async function mustBeMbox(file: MailboxFile): Promise<number> {
  const { size } = await file.stat();
  const scanner = new Scanner();
  try {
    let at = 0;
    for (let seen = false; at < size && !seen; ) {
      const octets = await file.read(at, at + FIRST_LOOK);
      if (octets.length === 0) break;
      scanner.push(octets);
      at += octets.length;
      seen = octets.some(octet => octet !== LF && octet !== CR);
      // The first line may begin at the end of what was read.
      if (seen) scanner.push(await file.read(at, at + FIRST_LOOK));
    }
    if (at + FIRST_LOOK >= size) scanner.end();
  } catch (cause) {
    if (!(cause instanceof NotMbox)) throw cause;
    throw new Unavailable('SYS/PERM', 'mailbox file is not in mbox format', { cause });
  }
  return size;
}

/** What is missing so that a From_ line stands after an empty line: a writer that was killed leaves no more. */
async function gapAfter(file: MailboxFile, size: number): Promise<Buffer> {
  const end = Buffer.from(await file.read(Math.max(0, size - 4), size)).toString('latin1');
  if (size === 0 || /(?:^|\n)\r?\n$/.test(end)) return Buffer.alloc(0);
  return Buffer.from(end.endsWith('\n') ? '\n' : '\n\n');
}

/** The same file, for appending. */
async function openTail(file: MailboxFile): Promise<number> {
  const { io } = file;
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const tail = await io.open(file.path, flags);
  try {
    const [ours, locked] = [await io.fstat(tail), await file.stat()];
    if (ours.dev === locked.dev && ours.ino === locked.ino) return tail;
    throw new Unavailable('SYS/TEMP', 'mailbox was replaced by another program');
  } catch (error) {
    await io.close(tail);
    throw error;
  }
}

/** biff(1), mutt and shells see new mail where the file was changed after it was last read, by whole seconds. */
async function seemNew(io: SpoolIo, fd: number): Promise<void> {
  const { atimeNs, mtimeNs } = await io.fstat(fd);
  if (atimeNs / SECOND < mtimeNs / SECOND) return;
  try {
    await io.setTimes(fd, mtimeNs - SECOND, mtimeNs);
  } catch (error) {
    // Only the owner may.
    if (errnoOf(error) !== 'EPERM') throw error;
  }
}

/** A file that was empty may have been made just now: its name must be on the disk as well. */
async function syncName(file: MailboxFile): Promise<void> {
  try {
    await syncDirectory(file.io, dirname(file.path));
  } catch (error) {
    // A spool that only lets pass: what journaling file systems sync with a new file is its name.
    if (errnoOf(error) !== 'EACCES') throw error;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * After a conflict: makes sure that every message a journal meant to keep is in the mailbox file, by
 * appending what is not. Nothing is overwritten. A deletion may be undone by this; no message is lost.
 */
import { createHash } from 'node:crypto';
import { Unavailable } from '../errors.js';
import type { MailboxIndex } from '../mbox/mailbox-index.js';
import { NotMbox, Scanner } from '../mbox/scanner.js';
import { BODY_SAMPLE, IdentityDigest } from '../mbox/unique-id.js';
import { type SpoolIo, writeFully } from './io.js';
import { changeBetween, type MailboxFile } from './mailbox-file.js';
import { lengthOf, octetsOf, type Piece } from './ranges.js';
import type { UpdateLocks } from './update-locks.js';

/** Looking again this often at a mailbox that grows while we look, we give up for now. */
const TRIES = 3;

/** Longest gap written between two messages, octets. */
const MAX_GAP = 2;

/**
 * @param redo where the journal has the messages it kept
 * @param locks those of the mailbox
 * @returns how many were appended, durably; 0 too when mailbox or redo are no mbox: then a human must look
 */
export async function salvage(mailbox: MailboxFile, redo: Piece, locks: UpdateLocks): Promise<number> {
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    const before = await mailbox.stat();
    const missing = await missingFrom(mailbox, before.size, redo);
    if (missing.length === 0) return 0;
    await locks.mustBeIntact();
    // What has come since stands where we would write.
    if (changeBetween(before, await mailbox.stat()) !== 'same') continue;
    await append(mailbox, before.size, missing);
    return missing.length;
  }
  throw new Unavailable('IN-USE', 'mailbox is being changed by a program that does not lock it');
}

/** The messages of the redo that the mailbox file, as far as `size`, does not have. */
async function missingFrom(mailbox: MailboxFile, size: number, redo: Piece): Promise<Piece[]> {
  const { io } = mailbox;
  const kept = await scanPiece(io, redo);
  const present = await scanPiece(io, { fd: mailbox.fd, start: 0, end: size });
  if (kept === undefined || present === undefined) return [];

  const there = new Map<string, number>();
  for await (const { digest } of digests(io, mailbox.fd, 0, present)) {
    there.set(digest, (there.get(digest) ?? 0) + 1);
  }
  const missing: Piece[] = [];
  for await (const { digest, start, end } of digests(io, redo.fd, redo.start, kept)) {
    const copies = there.get(digest) ?? 0;
    if (copies > 0) there.set(digest, copies - 1);
    else missing.push({ fd: redo.fd, start, end });
  }
  return missing;
}

async function scanPiece(io: SpoolIo, piece: Piece): Promise<MailboxIndex | undefined> {
  const scanner = new Scanner();
  try {
    for await (const octets of octetsOf(io, [piece])) scanner.push(octets);
    return scanner.end();
  } catch (error) {
    if (error instanceof NotMbox) return undefined;
    throw error;
  }
}

/** A digest of each message that a mail reader's rewriting of Status and the like does not change. */
async function* digests(
  io: SpoolIo,
  fd: number,
  base: number,
  index: MailboxIndex,
): AsyncGenerator<{ digest: string; start: number; end: number }> {
  for (let n = 1; n <= index.messages; n++) {
    const { start, body, contentEnd, end, bodyOctets } = index.extent(n);
    const header = new IdentityDigest(bodyOctets);
    const sample = Math.min(contentEnd, body + BODY_SAMPLE);
    for await (const octets of octetsOf(io, [{ fd, start: base + start, end: base + sample }]))
      header.push(octets);
    const content = createHash('sha256');
    for await (const octets of octetsOf(io, [{ fd, start: base + body, end: base + contentEnd }])) {
      content.update(octets);
    }
    yield { digest: `${header.end()} ${content.digest('hex')}`, start: base + start, end: base + end };
  }
}

/** Appends messages durably, or leaves the file as it was. */
async function append(mailbox: MailboxFile, size: number, pieces: readonly Piece[]): Promise<void> {
  const { io, fd } = mailbox;
  const whole = size + lengthOf(pieces) + MAX_GAP * pieces.length;
  try {
    await write(mailbox, size, pieces);
    await io.sync(fd);
  } catch (error) {
    // Cut off again: half a message more would be there after each try. Not if it is more than we wrote.
    if ((await mailbox.stat()).size <= whole) await io.truncate(fd, size);
    throw error;
  }
}

/** With an empty line before each, as a delivery agent does. */
async function write(mailbox: MailboxFile, size: number, pieces: readonly Piece[]): Promise<void> {
  const { io, fd } = mailbox;
  let at = size;
  let last = Buffer.from(await mailbox.read(Math.max(0, size - 2), size)).toString('latin1');
  for (const piece of pieces) {
    const gap = at === 0 || last.endsWith('\n\n') ? '' : last.endsWith('\n') ? '\n' : '\n\n';
    await writeFully(io, fd, Buffer.from(gap), at);
    at += gap.length;
    for await (const octets of octetsOf(io, [piece])) {
      await writeFully(io, fd, octets, at);
      at += octets.length;
      last = Buffer.from(octets.subarray(-2)).toString('latin1');
    }
  }
}

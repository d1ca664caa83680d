/**
 * After a conflict: makes sure that every message a journal meant to keep is in the mailbox file, by
 * appending what is not. Nothing is overwritten. A deletion may be undone by this; no message is lost.
 */
import { createHash } from 'node:crypto';
import type { MailboxIndex } from '../mbox/mailbox-index.js';
import { NotMbox, Scanner } from '../mbox/scanner.js';
import { BODY_SAMPLE, IdentityDigest } from '../mbox/unique-id.js';
import { type SpoolIo, writeFully } from './io.js';
import type { MailboxFile } from './mailbox-file.js';
import { octetsOf, type Piece } from './ranges.js';

/**
 * @param redo where the journal has the messages it kept
 * @returns how many were appended, durably; 0 too when mailbox or redo are no mbox: then a human must look
 */
export async function salvage(mailbox: MailboxFile, redo: Piece): Promise<number> {
  const { io } = mailbox;
  const { size } = await mailbox.stat();
  const kept = await scanPiece(io, redo);
  const present = await scanPiece(io, { fd: mailbox.fd, start: 0, end: size });
  if (kept === undefined || present === undefined) return 0;

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
  if (missing.length > 0) await append(mailbox, size, missing);
  return missing.length;
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

/** Appends messages, with an empty line before each, as a delivery agent does. */
async function append(mailbox: MailboxFile, size: number, pieces: readonly Piece[]): Promise<void> {
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
  await io.sync(fd);
}

/**
 * Sends a reply: its status line, and what follows it. RFC 1939 §3.
 *
 * Invariant: whatever can fail before the status line, up to the first read of a message, fails before
 * it, and can still become an `-ERR`. After it nothing is thrown but `Disconnected`, with the
 * connection already cut: no reader can take what it got for a whole message.
 */
import { Disconnected } from '../errors.js';
import type { ScanListing } from '../pop3/listing.js';
import { LEAST_ROOM, Multiline } from '../pop3/multiline.js';
import { type Content, MAX_STATUS, type Reply, statusLine } from '../pop3/reply.js';
import type { Connection } from './connection.js';
import type { MaybeLater } from './limits.js';
import { CAPACITY, type Output } from './output.js';
import type { SessionLog } from './session-log.js';

export interface Wire {
  readonly connection: Connection;
  readonly output: Output;
  readonly log: SessionLog;
}

/** A reply with a message. @throws Unavailable, or anything the maildrop throws, before a word was said */
export async function sendMessage(wire: Wire, reply: Reply, content: Content): Promise<void> {
  const { output, log } = wire;
  const body = new Multiline(content.message, content.octets);
  // A message that fits into an empty buffer is not cut for what is before it.
  if (output.room < Math.min(CAPACITY, roomFor(content.octets ?? 0))) await output.flush();
  const place = output.place();
  const status = place.write(statusLine(reply), 'latin1');
  // Nothing is said before this has worked.
  const first = body.read(place.subarray(status));
  // A number is not waited for, which would cost as much as the message.
  output.added(status + (typeof first === 'number' ? first : await first), true);
  try {
    while (!body.done) {
      if (output.room < LEAST_ROOM) await output.flush();
      const next = body.read(output.place());
      output.added(typeof next === 'number' ? next : await next, true);
    }
  } catch (error) {
    throw cut(wire, error, content.command);
  }
  log.count(content.command, body.octets);
}

/** What a message of so many octets takes at most, with its status line and terminator. */
function roomFor(octets: number): number {
  return Math.ceil((octets * 4) / 3) + MAX_STATUS + 2 * LEAST_ROOM;
}

/** A reply without a message; at once, where there is room for it. @throws Disconnected */
export function sendReply(wire: Wire, reply: Reply): MaybeLater<void> {
  const said = wire.output.text(statusLine(reply));
  return reply.listing || reply.scan ? sendLines(wire, reply, said) : said;
}

async function sendLines(wire: Wire, reply: Reply, said: MaybeLater<void>): Promise<void> {
  const { output } = wire;
  await said;
  if (reply.listing) await output.text([...reply.listing, '.'].map(line => `${line}\r\n`).join(''));
  if (reply.scan) await sendScan(wire, reply.scan);
}

async function sendScan(wire: Wire, scan: ScanListing): Promise<void> {
  const { output } = wire;
  try {
    while (!scan.done) {
      if (output.room < LEAST_ROOM) await output.flush();
      output.added(scan.read(output.place()), false);
    }
  } catch (error) {
    throw cut(wire, error, 'listing');
  }
}

/** Ends the connection in the middle of a reply. */
function cut({ connection, log }: Wire, error: unknown, command: string): Disconnected {
  if (error instanceof Disconnected && connection.ended) return error;
  log.failure('reply-cut', error, { command });
  connection.cut('error');
  return new Disconnected('error');
}

/**
 * The TRANSACTION state: what is in the maildrop, and what may go. RFC 1939 §5-7, RFC 2449 §5.
 *
 * Invariant: message-numbers never move; a marked message is counted by nothing and found by nobody;
 * nothing here removes anything, marks are all there is until QUIT. The totals are kept as marks come
 * and go, so that no command but a full listing costs more in a larger maildrop.
 */
import { BadRequest } from '../errors.js';
import { lineCount, messageNumber, optional, type Parser } from './arguments.js';
import { type CapabilityContext, capa } from './capabilities.js';
import { type Command, command, type Table } from './command.js';
import { ScanListing } from './listing.js';
import type { Maildrop } from './ports.js';
import { count, ok, type Reply } from './reply.js';

export interface Transaction extends CapabilityContext {
  readonly state: 'transaction';
  readonly maildrop: Maildrop;
  /** Unmarked messages, and their octets. */
  left: number;
  octets: number;
  /** LAST: the highest message-number accessed. */
  last: number;
}

/** The state at its beginning: no marks. `context` is that of the login. */
export function beginTransaction(maildrop: Maildrop, context: Omit<CapabilityContext, 'state'>): Transaction {
  const { features, transport, plaintext, mechanisms, provable } = context;
  const session: Transaction = {
    state: 'transaction',
    features,
    transport,
    plaintext,
    mechanisms,
    provable,
    maildrop,
    left: 0,
    octets: 0,
    last: 0,
  };
  countAll(session);
  return session;
}

function countAll(session: Transaction): void {
  const { maildrop } = session;
  session.left = maildrop.messages;
  session.octets = maildrop.totalOctets;
}

/** Throws unless `n` is a message that is there and not marked. */
function mustExist({ maildrop }: Transaction, n: number): void {
  if (n > maildrop.messages) {
    throw new BadRequest(`no such message, only ${count(maildrop.messages, 'message')} in maildrop`);
  }
  if (maildrop.isMarked(n)) throw new BadRequest(`message ${n} is marked as deleted`);
}

function summary({ left, octets }: Transaction): string {
  return `${count(left, 'message')} (${count(octets, 'octet')})`;
}

/** One line for each unmarked message, made as it is sent. */
function scan({ maildrop }: Transaction, of: (n: number) => string | number): ScanListing {
  return new ScanListing(maildrop.messages, n => (maildrop.isMarked(n) ? undefined : of(n)));
}

function list(session: Transaction, n: number | undefined): Reply {
  const { maildrop } = session;
  if (n === undefined) return ok(summary(session), { scan: scan(session, i => maildrop.octets(i)) });
  mustExist(session, n);
  return ok(`${n} ${maildrop.octets(n)}`);
}

async function uidl(session: Transaction, n: number | undefined): Promise<Reply> {
  if (n !== undefined) mustExist(session, n);
  const ids = await session.maildrop.uniqueIds();
  const idOf = (i: number): string => {
    const id = ids[i - 1];
    if (id === undefined) throw new Error(`no unique-id for message ${i} of ${session.maildrop.messages}`);
    return id;
  };
  if (n === undefined) return ok(count(session.left, 'message'), { scan: scan(session, idOf) });
  return ok(`${n} ${idOf(n)}`);
}

function retr(session: Transaction, n: number): Reply {
  mustExist(session, n);
  const { maildrop } = session;
  const octets = maildrop.octets(n);
  session.last = Math.max(session.last, n);
  return ok(count(octets, 'octet'), {
    content: { command: 'RETR', message: maildrop.retrieve(n), octets },
  });
}

function top(session: Transaction, n: number, lines: number): Reply {
  mustExist(session, n);
  return ok('top of message follows', {
    content: { command: 'TOP', message: session.maildrop.top(n, lines) },
  });
}

async function dele(session: Transaction, n: number): Promise<Reply> {
  mustExist(session, n);
  await session.maildrop.mark(n);
  session.left--;
  session.octets -= session.maildrop.octets(n);
  session.last = Math.max(session.last, n);
  return ok(`message ${n} deleted`);
}

/** Unmarks all. RFC 1081's RSET also forgets what LAST knows. */
function rset(session: Transaction): Reply {
  session.maildrop.unmarkAll();
  countAll(session);
  session.last = 0;
  return ok(`maildrop has ${summary(session)}`);
}

function quit(session: Transaction): Reply {
  const left = session.left === 0 ? 'maildrop empty' : `${count(session.left, 'message')} left`;
  return ok(`mbox-pop3d signing off (${left})`, { next: 'update' });
}

function row<Args extends unknown[]>(
  parsers: readonly [...{ [K in keyof Args]: Parser<Args[K]> }],
  handler: (session: Transaction, ...args: Args) => Reply | Promise<Reply>,
  available?: (session: Transaction) => boolean,
): Command<Transaction> {
  return command(parsers, handler, available);
}

export const transaction: Table<Transaction> = new Map([
  ['STAT', row([], session => ok(`${session.left} ${session.octets}`))], // RFC 1939 §5 (STAT)
  ['LIST', row([optional(messageNumber)], list)], // RFC 1939 §5 (LIST)
  ['UIDL', row([optional(messageNumber)], uidl)], // RFC 1939 §7 (UIDL)
  ['RETR', row([messageNumber], retr)], // RFC 1939 §5 (RETR)
  ['TOP', row([messageNumber, lineCount], top)], // RFC 1939 §7 (TOP)
  ['DELE', row([messageNumber], dele)], // RFC 1939 §5 (DELE)
  ['NOOP', row([], () => ok('nothing done'))], // RFC 1939 §5 (NOOP)
  ['RSET', row([], rset)], // RFC 1939 §5 (RSET)
  [
    'LAST',
    row(
      [],
      session => ok(`${session.last}`),
      session => session.features.last,
    ),
  ], // RFC 1081 (LAST)
  ['CAPA', row([], session => capa(session))], // RFC 2449 §5 (CAPA)
  ['QUIT', row([], quit)], // RFC 1939 §6 (QUIT)
]);

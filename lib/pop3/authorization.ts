/**
 * The AUTHORIZATION state: who is it? RFC 1939 §4 and §7, RFC 2449 §5.
 *
 * Invariant: every refused login says the same, whatever was wrong with it; the state changes to
 * TRANSACTION only by a reply that follows a maildrop that is open. Checking credentials, waiting and
 * opening are the session's, behind `login`.
 */
import { BadRequest } from '../errors.js';
import { digest, name, type Parser, restOfLine } from './arguments.js';
import { type CapabilityContext, capa } from './capabilities.js';
import { type Command, command, type Table } from './command.js';
import { count, ok, type Reply } from './reply.js';

/** What a client claims, and how it proves it. */
export type Credentials =
  | { readonly method: 'USER'; readonly user: Uint8Array; readonly password: Uint8Array }
  | {
      readonly method: 'APOP';
      readonly user: Uint8Array;
      readonly timestamp: string;
      readonly digest: string;
    };

/**
 * Checks credentials and opens the maildrop.
 * @returns how many messages and octets are in it
 * @throws AuthenticationFailed | Unavailable | Disconnected
 */
export type Login = (credentials: Credentials) => Promise<{ messages: number; octets: number }>;

export interface Authorization extends CapabilityContext {
  readonly state: 'authorization';
  /** The timestamp of the greeting, angle brackets included; undefined when APOP is off. */
  readonly timestamp: string | undefined;
  readonly login: Login;
  /** The name given by USER, until a PASS used it up. */
  user: Uint8Array | undefined;
}

function row<Args extends unknown[]>(
  parsers: readonly [...{ [K in keyof Args]: Parser<Args[K]> }],
  handler: (session: Authorization, ...args: Args) => Reply | Promise<Reply>,
  available?: (session: Authorization) => boolean,
): Command<Authorization> {
  return command(parsers, handler, available);
}

async function logIn(session: Authorization, credentials: Credentials): Promise<Reply> {
  const { messages, octets } = await session.login(credentials);
  return ok(`maildrop has ${count(messages, 'message')} (${count(octets, 'octet')})`, {
    next: 'transaction',
  });
}

/** RFC 1939 §13: the reply to USER never tells which names are valid. */
function user(session: Authorization, claimed: Uint8Array): Reply {
  session.user = claimed;
  return ok('send PASS');
}

/**
 * RFC 1939 §7 (PASS): only after USER; a refused one needs USER again. Other commands may come between
 * (clients ask CAPA there).
 */
function pass(session: Authorization, password: Uint8Array): Promise<Reply> {
  const claimed = session.user;
  if (claimed === undefined) throw new BadRequest('USER first');
  session.user = undefined;
  return logIn(session, { method: 'USER', user: claimed, password });
}

function apop(session: Authorization, claimed: Uint8Array, proof: string): Promise<Reply> {
  const { timestamp } = session;
  if (timestamp === undefined) throw new BadRequest('no timestamp was sent');
  session.user = undefined;
  return logIn(session, { method: 'APOP', user: claimed, timestamp, digest: proof });
}

export const authorization: Table<Authorization> = new Map([
  ['USER', row([name], user)], // RFC 1939 §7 (USER)
  ['PASS', row([restOfLine], pass)], // RFC 1939 §7 (PASS)
  ['APOP', row([name, digest], apop, session => session.timestamp !== undefined)], // RFC 1939 §7 (APOP)
  ['CAPA', row([], session => capa(session))], // RFC 2449 §5 (CAPA)
  ['QUIT', row([], () => ok('mbox-pop3d signing off', { next: 'close' }))], // RFC 1939 §4 (QUIT)
]);

/**
 * The AUTHORIZATION state: who is it? RFC 1939 §4 and §7, RFC 2449 §5.
 *
 * Invariant: every refused login says the same, whatever was wrong with it; the state changes to
 * TRANSACTION only by a reply that follows a maildrop that is open. Checking credentials, waiting and
 * opening are the session's, behind `login`.
 */
import { BadRequest } from '../errors.js';
import { digest, name, optional, type Parser, restOfLine, text } from './arguments.js';
import { type AuthPorts, authenticate, refusePlaintext } from './auth.js';
import { type CapabilityContext, capa, stlsPermitted } from './capabilities.js';
import { type Command, command, type Table } from './command.js';
import { offered, plaintextAllowed } from './mechanisms.js';
import type { Proof } from './ports.js';
import { count, ok, type Reply } from './reply.js';

/** What a client claims, and how it proves it; `method` is for the log, too. */
export type Credentials =
  | {
      readonly method: 'USER' | 'PLAIN' | 'LOGIN';
      readonly user: Uint8Array;
      readonly password: Uint8Array;
    }
  /** `confirm` tells the client the server's signature, before it is logged in. It may throw BadRequest. */
  | (Proof & { readonly confirm?: (serverSignature: Uint8Array) => Promise<void> })
  /** Whatever the proof is worth. The reason is for the log only. */
  | { readonly method: string; readonly user: Uint8Array; readonly refused: string };

/**
 * Checks credentials and opens the maildrop.
 * @returns how many messages and octets are in it
 * @throws AuthenticationFailed | Unavailable | Disconnected | BadRequest
 */
export type Login = (credentials: Credentials) => Promise<{ messages: number; octets: number }>;

export interface Authorization extends CapabilityContext {
  readonly state: 'authorization';
  /** The timestamp of the greeting, angle brackets included; undefined when APOP is off. */
  readonly timestamp: string | undefined;
  readonly login: Login;
  /** What SASL needs besides. */
  readonly ports: AuthPorts;
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

/**
 * RFC 1939 §13: the reply to USER never tells which names are valid. Where no password may be sent, the
 * client hears it now, before it sends one.
 */
function user(session: Authorization, claimed: Uint8Array): Reply {
  if (!plaintextAllowed(session)) refusePlaintext();
  session.user = claimed;
  return ok('send PASS');
}

/**
 * RFC 1939 §7 (PASS): only after USER; a refused one needs USER again. Other commands may come between
 * (clients ask CAPA there).
 */
function pass(session: Authorization, password: Uint8Array): Promise<Reply> {
  if (!plaintextAllowed(session)) refusePlaintext();
  const claimed = session.user;
  if (claimed === undefined) throw new BadRequest('USER first');
  session.user = undefined;
  return logIn(session, { method: 'USER', user: claimed, password });
}

function apop(session: Authorization, claimed: Uint8Array, proof: string): Promise<Reply> {
  const { timestamp } = session;
  if (timestamp === undefined) throw new BadRequest('no timestamp was sent');
  session.user = undefined;
  return logIn(session, { method: 'APOP', user: claimed, challenge: timestamp, digest: proof });
}

/** Without an argument it is how clients older than CAPA ask for the list (RFC 5034 §1 misses it; Outlook). */
async function auth(
  session: Authorization,
  mechanism: string | undefined,
  initial: string | undefined,
): Promise<Reply> {
  if (mechanism !== undefined) return logIn(session, await authenticate(session, mechanism, initial));
  return ok('list of SASL mechanisms follows', { listing: await offered(session) });
}

/**
 * RFC 2595 §4 (STLS): TLS begins behind the CRLF of this reply. The session sees to it that nothing was sent
 * behind the command, and begins anew, with nothing that this client said before.
 */
function stls(session: Authorization): Reply {
  if (session.transport.secure) throw new BadRequest('TLS is active already');
  return ok('begin TLS negotiation', { next: 'tls' });
}

export const authorization: Table<Authorization> = new Map([
  ['USER', row([name], user)], // RFC 1939 §7 (USER)
  ['PASS', row([restOfLine], pass)], // RFC 1939 §7 (PASS)
  ['APOP', row([name, digest], apop, session => session.timestamp !== undefined)], // RFC 1939 §7 (APOP)
  ['AUTH', row([optional(text), optional(text)], auth)], // RFC 5034 §4 (AUTH)
  ['CAPA', row([], session => capa(session))], // RFC 2449 §5 (CAPA)
  // RFC 2595 §4 (STLS); under TLS it exists to say why not
  ['STLS', row([], stls, session => session.transport.secure || stlsPermitted(session))],
  ['QUIT', row([], () => ok('mbox-pop3d signing off', { next: 'close' }))], // RFC 1939 §4 (QUIT)
]);

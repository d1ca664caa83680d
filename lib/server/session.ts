/**
 * Runs one connection: the seam between every transport and the protocol. The loop is the whole flow
 * control: one line, its reply, the reply accepted, the next line. RFC 1939 §3-6.
 *
 * Invariants: UPDATE happens only for a complete QUIT line, at most once, and nothing interrupts it;
 * every other end releases the maildrop as it was. Errors become replies in one place, `refusals.ts`. Once
 * the `+OK` of a multi-line reply is out, an error can only cut the connection.
 */
import type { Duplex } from 'node:stream';
import { BadRequest, Disconnected, HandshakeFailed, Unavailable } from '../errors.js';
import type { Log } from '../log.js';
import { type Authorization, authorization, type Credentials } from '../pop3/authorization.js';
import { dispatch } from '../pop3/command.js';
import type { Account, Maildrop, Peer } from '../pop3/ports.js';
import { err, type Reply } from '../pop3/reply.js';
import { isProxyHeader, type Line, parseRequest } from '../pop3/request.js';
import { beginTransaction, type Transaction, transaction } from '../pop3/transaction.js';
import { Connection, type Patience, type Reason } from './connection.js';
import { type Greeting, greet } from './greeting.js';
import type { MaybeLater, Place } from './limits.js';
import { attemptLogin } from './login.js';
import { Output } from './output.js';
import { isLocal } from './peer.js';
import { Refusals } from './refusals.js';
import { authPorts, provableOnce } from './sasl.js';
import { sendMessage, sendReply, type Wire } from './send.js';
import { SessionLog } from './session-log.js';
import type { SessionServices, SessionSettings, TlsOffer } from './session-services.js';
import { stoppableBy } from './stoppable.js';

export {
  DEFAULT_SESSION_SETTINGS,
  type SessionServices,
  type SessionSettings,
  type TlsOffer,
} from './session-services.js';

/** Ends at which we say nothing more, so that there is nothing to wait for the client to read. */
const SILENT: ReadonlySet<Reason> = new Set([
  'closed',
  'idle',
  'shutdown',
  'flooded',
  'maildrop-lost',
  'taken-over',
  'tls-failed',
]);

/** Octets of replies put together at most before the login, and one reply: a stranger may never read them. */
const REPLIES_BEFORE_LOGIN = 4096;

/** What a transport may add. */
export interface ServeOptions {
  /** Shutdown: no further command is run; a reply that is being sent, and UPDATE, finish. */
  readonly signal?: AbortSignal;
  /** What there is of TLS; without it there is none. */
  readonly tls?: TlsOffer | undefined;
  /** The greeting, one without APOP, was said already. */
  readonly greeted?: boolean;
  /** Takes what a client can have us write without a login, as often as it likes. Default: the log. */
  readonly strangers?: Log;
  /** Where the connection was counted in. */
  readonly place?: Place;
}

/**
 * Serves one client until the connection is over and everything it held is released.
 * @param stream made by a transport; it is ended here. To end a session hard, destroy it.
 * @returns never rejects for anything a client, a mailbox or an authenticator does
 */
export async function serve(
  stream: Duplex,
  peer: Peer,
  services: SessionServices,
  options: ServeOptions = {},
): Promise<void> {
  const connection = new Connection(stream, patienceOf(services.settings), services.askKernel);
  const { signal } = options;
  if (signal?.aborted) connection.stop();
  const remove = signal && stoppableBy(signal).add(connection);
  try {
    await new Session(connection, peer, services, options).run();
  } finally {
    remove?.();
  }
}

/** A silence that another session may end is looked at twice, but not more often than each second. */
function patienceOf({ idleTimeout, takeover }: SessionSettings): Patience {
  return { idleTimeout, lookEvery: takeover > 0 ? Math.max(1000, takeover / 2) : idleTimeout };
}

class Session {
  private readonly output: Output;
  private readonly log: SessionLog;
  private readonly wire: Wire;
  private readonly greeting: Greeting;
  private readonly refusals: Refusals;
  private readonly tls: TlsOffer | undefined;
  private readonly greeted: boolean;
  private readonly place: Place | undefined;
  private state: Authorization | Transaction;
  private account: Account | undefined;
  /** Ours to release from the moment it is open. */
  private maildrop: Maildrop | undefined;
  private opened: Transaction | undefined;
  private stopLoginDeadline: () => void = () => {};
  /** `TLSv1.3` and the like, for the log. */
  private protocol: string | undefined;
  private leave: () => void = () => {};
  private removed = 0;
  /** Why the session ends, once it was decided here. */
  private reason: Reason | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly peer: Peer,
    private readonly services: SessionServices,
    { tls, strangers, greeted = false, place }: ServeOptions,
  ) {
    this.place = place;
    this.tls = tls;
    this.greeted = greeted;
    this.output = new Output(connection, services.places);
    this.log = new SessionLog(services.log, peer.address, strangers);
    this.greeting = greet(services.settings);
    this.refusals = new Refusals(services.settings, this.log);
    this.wire = { connection, output: this.output, log: this.log };
    this.state = this.authorization(false);
  }

  /** The state at its beginning: the client has said nothing. */
  private authorization(secure: boolean): Authorization {
    return {
      state: 'authorization',
      features: { last: this.services.settings.last },
      transport: { secure, local: isLocal(this.peer), stls: this.tls !== undefined },
      plaintext: this.services.settings.plaintext,
      mechanisms: this.services.settings.saslMechanisms,
      provable: provableOnce(this.services),
      ports: authPorts(this.services, this.peer, this.wire),
      timestamp: this.greeting.timestamp,
      login: credentials => this.logIn(credentials),
      user: undefined,
    };
  }

  async run(): Promise<void> {
    const { loginTimeout } = this.services.settings;
    this.stopLoginDeadline = this.connection.deadline(loginTimeout, 'login-timeout');
    let reason: Reason;
    try {
      if (this.tls?.implicit) await this.startTls(this.tls);
      reason = await (this.services.settings.permits(this.peer.address) ? this.greet() : this.turnAway());
    } catch (error) {
      reason = await this.interrupted(error);
    }
    this.stopLoginDeadline();
    await this.release();
    if (this.account && this.maildrop) {
      this.log.logout(this.account.user, reason, this.removed, this.maildrop.messages - this.removed);
    } else this.log.noLogin(reason);
    this.output.discard();
    await this.connection.close(!SILENT.has(reason));
  }

  private async greet(): Promise<Reason> {
    const greeted = this.greeted ? undefined : sendReply(this.wire, this.greeting.reply);
    if (greeted) await greeted;
    return this.converse();
  }

  private async turnAway(): Promise<Reason> {
    await sendReply(this.wire, err('no service for your address', { code: 'SYS/PERM' }));
    await this.output.flush();
    return 'not-permitted';
  }

  private async converse(): Promise<Reason> {
    for (;;) {
      let line = this.connection.nextLine();
      if (line === undefined) {
        // What is done already is not waited for: it would cost as much as a short command.
        const flushed = this.output.flush();
        if (flushed) await flushed;
        const coming = this.connection.line();
        line = coming instanceof Promise ? await coming : coming;
      }
      // The start of a line, then the end, is no command. RFC 1939 §6: no UPDATE without QUIT.
      if (line === undefined) return 'closed';
      const answered = line === 'flooded' ? undefined : this.answer(line);
      const reply = answered instanceof Promise ? await answered : answered;
      if (reply?.next === 'transaction' && this.opened) this.state = this.opened;
      if (reply?.next === 'tls' && this.tls) {
        await this.output.flush();
        await this.startTls(this.tls);
      }
      if (reply === undefined || reply.next === 'close' || reply.next === 'update') {
        const flushed = this.output.flush();
        if (flushed) await flushed;
        return this.reason ?? (reply ? 'quit' : 'flooded');
      }
      if (!this.opened && this.output.held >= REPLIES_BEFORE_LOGIN) await this.output.flush();
    }
  }

  /** RFC 2595 §4 (STLS), RFC 8314 §3: afterwards nothing is left of what was said without TLS. */
  private async startTls(tls: TlsOffer): Promise<void> {
    try {
      const { protocol } = await this.connection.secure(tls);
      this.protocol = protocol;
    } catch (error) {
      if (!(error instanceof HandshakeFailed)) throw error;
      const { ended } = this.connection;
      // Our own deadline, or a shutdown, may be what ended it.
      if (ended === undefined || ended === 'closed') {
        this.reason = 'tls-failed';
        this.log.ofStranger('info', 'tls-failed', { reason: error.message });
      }
      throw new Disconnected(error.message);
    }
    this.state = this.authorization(true);
  }

  /** The end by an error that leaves nothing to say. */
  private async interrupted(error: unknown): Promise<Reason> {
    const known = error instanceof Disconnected;
    if (!known) this.log.failure('internal-error', error);
    const ours = this.connection.stopping ? 'shutdown' : known ? 'maildrop-lost' : 'error';
    const reason = this.reason ?? this.connection.ended ?? ours;
    try {
      // Replies to commands that were run are still the client's.
      if (!this.connection.ended) await this.output.flush();
    } catch (late) {
      if (!(late instanceof Disconnected)) throw late;
    }
    return reason;
  }

  /** Runs one line and says its reply. @returns what was said; at once, where nothing had to be waited for */
  private answer(line: Exclude<Line, 'flooded'>): MaybeLater<Reply> {
    let reply: MaybeLater<Reply>;
    let keyword = '';
    try {
      if (line === 'too-long') throw new BadRequest('command line too long');
      if (!this.opened && isProxyHeader(line, this.refusals.badCommands)) throw this.refusals.proxyHeader();
      const request = parseRequest(line);
      keyword = request.keyword;
      reply =
        this.state.state === 'authorization'
          ? dispatch(authorization, this.state, request)
          : dispatch(transaction, this.state, request);
    } catch (error) {
      return this.say(this.failed(error, keyword));
    }
    if (reply instanceof Promise || reply.next || reply.content) return this.complete(reply, keyword);
    this.refusals.wasGood();
    return this.say(reply);
  }

  /** What there is to a reply besides saying it. */
  private async complete(answered: MaybeLater<Reply>, keyword: string): Promise<Reply> {
    let reply: Reply;
    try {
      reply = answered instanceof Promise ? await answered : answered;
      this.refusals.wasGood();
      if (reply.next === 'update') reply = await this.update(reply);
      if (reply.next === 'tls') {
        await this.tls?.ready();
        // RFC 2595 §4 (STLS): no further commands until TLS is up. Who sends some may be somebody in between.
        if (this.connection.pending) reply = this.refuseInjection();
      }
      if (reply.content) {
        await sendMessage(this.wire, reply, reply.content);
        return reply;
      }
    } catch (error) {
      reply = this.failed(error, keyword);
    }
    return this.say(reply);
  }

  private say(reply: Reply): MaybeLater<Reply> {
    const said = sendReply(this.wire, reply);
    return said ? said.then(() => reply) : reply;
  }

  private refuseInjection(): Reply {
    this.reason = 'stls-injection';
    return err('nothing may follow STLS before TLS is up', { next: 'close' });
  }

  /** @throws Disconnected where nothing may be said */
  private failed(error: unknown, keyword: string): Reply {
    const { reply, reason } = this.refusals.of(error, keyword, this.opened !== undefined);
    this.reason = reason ?? this.reason;
    return reply;
  }

  private async logIn(credentials: Credentials): Promise<{ messages: number; octets: number }> {
    // This may take seconds: what was said before is not held back meanwhile.
    if (this.output.held > 0) await this.output.flush();
    await this.state.provable(); // Afterwards it may be too late.
    const { account, maildrop, leave } = await attemptLogin(
      this.services,
      this.peer,
      this.connection,
      this.log,
      credentials,
      this.place,
    );
    this.maildrop = maildrop;
    this.leave = leave;
    this.account = account;
    this.stopLoginDeadline();
    this.connection.loggedIn();
    this.opened = beginTransaction(maildrop, this.state);
    const { octets } = this.opened;
    const { messages } = maildrop;
    this.log.write('info', 'login', {
      user: account.user,
      method: credentials.method,
      messages,
      octets,
      tls: this.protocol,
      via: this.peer.via,
    });
    // The client may have left while the maildrop was being opened.
    this.connection.mustBeOpen();
    return { messages, octets };
  }

  /** RFC 1939 §6 (UPDATE): removes what is marked; the reply tells whether that was done. */
  private async update(farewell: Reply): Promise<Reply> {
    if (!this.opened) throw new Error('QUIT without a maildrop');
    const { maildrop, left } = this.opened;
    // A message that was asked for in the same packet as QUIT must have left before it is removed.
    if (this.output.holdsMessage) await this.output.flush();
    this.reason = 'quit';
    try {
      await maildrop.update();
      this.removed = maildrop.messages - left;
      return farewell;
    } catch (error) {
      this.reason = 'unavailable';
      this.log.failure('update-failed', error);
      const code = error instanceof Unavailable ? error.code : 'SYS/TEMP';
      return err('some deleted messages not removed', { code, next: 'close' });
    }
  }

  private async release(): Promise<void> {
    try {
      await this.maildrop?.release();
    } catch (error) {
      this.log.failure('release-failed', error);
    }
    this.leave();
  }
}

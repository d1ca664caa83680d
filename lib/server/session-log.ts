/**
 * What a session writes to the log: one line for a login, a refused one, and the end, each beginning
 * with the client's address. Counts what the last of them tells. Never a password, never message text.
 */
import { Unavailable } from '../errors.js';
import type { Fields, Level, Log } from '../log.js';
import type { Content } from '../pop3/reply.js';
import type { Reason } from './connection.js';

export class SessionLog {
  private readonly began = performance.now();
  private readonly sent = { RETR: { messages: 0, octets: 0 }, TOP: { messages: 0, octets: 0 } };

  constructor(
    private readonly sink: Log,
    private readonly address: string,
    private readonly strangers: Log = sink,
  ) {}

  write(level: Level, event: string, fields: Fields): void {
    this.sink.write(level, this.address, event, fields);
  }

  /** The same, of somebody who has not logged in, and may do it as often as he likes. */
  ofStranger(level: Level, event: string, fields: Fields): void {
    this.strangers.write(level, this.address, event, fields);
  }

  /** Counts a message that was sent to its end. */
  count(command: Content['command'], octets: number): void {
    this.sent[command].messages++;
    this.sent[command].octets += octets;
  }

  /**
   * Something that should not have happened.
   * @param ofStranger as the method of that name
   */
  failure(event: string, error: unknown, more: Fields = {}, ofStranger = false): void {
    const level = error instanceof Unavailable ? 'warn' : 'error';
    const fields = { ...more, ...describe(error) };
    if (ofStranger) this.ofStranger(level, event, fields);
    else this.write(level, event, fields);
  }

  /** The end of a session that never logged in: of interest only when we ended it. */
  noLogin(reason: Reason): void {
    // A handshake that failed has a line of its own.
    const ordinary = ['quit', 'closed', 'shutdown', 'tls-failed'].includes(reason);
    this.ofStranger(ordinary ? 'debug' : 'info', 'no-login', { reason, seconds: this.seconds() });
  }

  /** @param left messages in the maildrop after the session; `deleted` are those UPDATE removed */
  logout(user: string, reason: Reason, deleted: number, left: number): void {
    const { RETR: retr, TOP: top } = this.sent;
    this.write('info', 'logout', {
      user,
      reason,
      retr: `${retr.messages}/${retr.octets}`,
      top: `${top.messages}/${top.octets}`,
      deleted,
      left,
      seconds: this.seconds(),
    });
  }

  private seconds(): number {
    return Math.round((performance.now() - this.began) / 1000);
  }
}

/** What an error tells the log; the stack of a bug, in pieces that survive the log's limit on a value. */
function describe(error: unknown): Fields {
  if (error instanceof Unavailable) {
    const cause = error.cause === undefined ? undefined : String(error.cause);
    return { code: error.code, message: error.message, cause };
  }
  if (!(error instanceof Error)) return { message: String(error) };
  const [at1, at2, at3] = (error.stack ?? '').split('\n    at ').slice(1);
  return { message: `${error.name}: ${error.message}`, at1, at2, at3 };
}

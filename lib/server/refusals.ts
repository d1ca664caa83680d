/**
 * What a client is told when a command fails, and when that ends its session: the one place where an error becomes a
 * reply. It counts what a client may do wrong only so often. RFC 1939 §3, RFC 3206.
 */
import { AuthenticationFailed, BadRequest, Disconnected, Unavailable } from '../errors.js';
import { authorization } from '../pop3/authorization.js';
import { err, type Reply } from '../pop3/reply.js';
import { transaction } from '../pop3/transaction.js';
import type { Reason } from './connection.js';
import type { SessionLog } from './session-log.js';
import type { SessionSettings } from './session-services.js';

/** Extensions we do not have, which a decent client may try without having seen them in CAPA. */
const ELSEWHERE: ReadonlySet<string> = new Set(['LANG', 'RPOP', 'UTF8', 'XTND']);

/** Whether a word is a command of POP3, were it not now, or not here. */
function isPop3(keyword: string): boolean {
  return authorization.has(keyword) || transaction.has(keyword) || ELSEWHERE.has(keyword);
}

export interface Refusal {
  readonly reply: Reply;
  /** Why the session ends with it. */
  readonly reason?: Reason;
}

/** Those of one session. */
export class Refusals {
  #badCommands = 0;
  /** Of them, before the login, those that are no commands of POP3. */
  #strangeWords = 0;
  #failedLogins = 0;

  constructor(
    private readonly settings: SessionSettings,
    private readonly log: SessionLog,
  ) {}

  /** Bad commands since the last good one. */
  get badCommands(): number {
    return this.#badCommands;
  }

  /** A command was one. */
  wasGood(): void {
    this.#badCommands = 0;
    this.#strangeWords = 0;
  }

  /** @throws Disconnected where nothing may be said */
  of(error: unknown, keyword: string, loggedIn: boolean): Refusal {
    if (error instanceof Disconnected) throw error;
    if (error instanceof BadRequest) return this.#badCommand(error, keyword, loggedIn);
    if (error instanceof AuthenticationFailed) {
      const last = ++this.#failedLogins >= this.settings.maxLoginFailures;
      const reply = err('Authentication failed', { code: 'AUTH', ...(last && { next: 'close' }) });
      return { reply, ...(last && { reason: 'failed-logins' }) };
    }
    if (error instanceof Unavailable) {
      const { code, fatal } = error;
      // A failed login has its own line in the log.
      if (loggedIn || keyword === 'STLS') this.log.failure('unavailable', error, { command: keyword });
      const reply = err(error.message, { code, ...(fatal && { next: 'close' }) });
      return { reply, ...(fatal && { reason: 'unavailable' }) };
    }
    this.log.failure('internal-error', error, { command: keyword });
    return { reply: err('internal error', { code: 'SYS/TEMP', next: 'close' }), reason: 'error' };
  }

  #badCommand(error: BadRequest, keyword: string, loggedIn: boolean): Refusal {
    const { maxBadCommands, maxBadCommandsBeforeLogin } = this.settings;
    // With a code it is no mistake but a policy, and somebody will ask why.
    const level = error.code ? 'info' : 'debug';
    if (loggedIn) this.log.write(level, 'bad-command', { reason: error.message });
    else this.log.ofStranger(level, 'bad-command', { reason: error.message });
    if (!loggedIn && !isPop3(keyword)) this.#strangeWords++;
    const over = ++this.#badCommands >= maxBadCommands || this.#strangeWords >= maxBadCommandsBeforeLogin;
    if (!over) return { reply: err(error.message, { ...(error.code && { code: error.code }) }) };
    return { reply: err('too many bad commands', { next: 'close' }), reason: 'bad-commands' };
  }

  /** A client that is no front end begins as one would. */
  proxyHeader(): Unavailable {
    this.log.ofStranger('warn', 'proxy-refused', { reason: 'not in proxy-nets' });
    return new Unavailable('SYS/PERM', 'no PROXY header is taken from your address', { fatal: true });
  }
}

/**
 * A maildrop, an authenticator and a log in memory, for tests of the protocol and the session: they do
 * what ports.ts says, count what was asked of them, and fail on request.
 */
import { createHash } from 'node:crypto';
import { StaticUsers } from '../../lib/auth/static-users.js';
import { Unavailable } from '../../lib/errors.js';
import { linuxHost } from '../../lib/host/linux.js';
import { formatLine, type Level, type Log } from '../../lib/log.js';
import type { Account, Authenticator, Holder, Maildrop, MessageReader } from '../../lib/pop3/ports.js';
import { KeyedLimit } from '../../lib/server/limits.js';
import { LocalLogins, type LoginParts } from '../../lib/server/logins.js';
import {
  DEFAULT_SESSION_SETTINGS,
  type SessionServices,
  type SessionSettings,
} from '../../lib/server/session.js';
import { Throttle } from '../../lib/server/throttle.js';
import { PieceReader } from './message-reader.js';

/** Accounts of the transcripts. Messages are in wire form and survive an mbox file unchanged. */
export const SAMPLE: ReadonlyMap<string, { password: string; messages: readonly string[] }> = new Map([
  ['mrose', { password: 'tanstaaf', messages: [sampleOne(), sampleTwo()] }],
  ['nobody', { password: 'no mail today', messages: [] }],
  ['spaces', { password: ' two  spaces ', messages: [] }],
  ['dots', { password: 'secret', messages: [dots()] }],
]);

/** 120 octets. */
function sampleOne(): string {
  return lines(
    'From: Marshall <mrose@example.org>',
    'Subject: one',
    'Date: Tue, 23 Nov 1993 09:00:00 -0500',
    '',
    'Hello, this is message one.',
  );
}

/** 200 octets. */
function sampleTwo(): string {
  return lines(
    'From: John <jgm@example.org>',
    'To: mrose@example.org',
    'Subject: two',
    'Date: Tue, 23 Nov 1993 09:01:00 -0500',
    '',
    'The second message of RFC 1939 section 10,',
    'two hundred octets long, with a dot:  ',
    '.',
    'end',
  );
}

function dots(): string {
  return lines('Subject: dots', '', '.', '..', '.a', 'b.', '', '...', 'last');
}

function lines(...all: string[]): string {
  return all.map(line => `${line}\r\n`).join('');
}

export class MemoryMaildrop implements Maildrop {
  readonly calls = { update: 0, release: 0, mark: 0, unmarkAll: 0, retrieve: 0 };
  /** Octets a chunk, for `retrieve` and `top`. */
  chunk = 64 * 1024;
  /** Thrown by update(), after which nothing was removed. */
  updateFailure: Error | undefined;
  /** Thrown by mark(). */
  markFailure: Error | undefined;
  private readonly marks = new Set<number>();

  /** @param stored in wire form; update() removes from this array */
  constructor(readonly stored: Buffer[]) {
    this.messages = stored.length;
  }

  readonly messages: number;

  get totalOctets(): number {
    return this.stored.reduce((sum, { length }) => sum + length, 0);
  }

  octets(n: number): number {
    return this.message(n).length;
  }

  isMarked(n: number): boolean {
    this.message(n);
    return this.marks.has(n);
  }

  async mark(n: number): Promise<void> {
    this.calls.mark++;
    if (this.markFailure) throw this.markFailure;
    this.marks.add(n);
  }

  unmarkAll(): void {
    this.calls.unmarkAll++;
    this.marks.clear();
  }

  async uniqueIds(): Promise<readonly string[]> {
    return this.stored.map((message, i) => `${i}:${createHash('md5').update(message).digest('hex')}`);
  }

  retrieve(n: number): MessageReader {
    this.calls.retrieve++;
    return new PieceReader(this.cut(this.message(n)));
  }

  top(n: number, lines: number): MessageReader {
    const message = this.message(n);
    const header = message.indexOf('\r\n\r\n');
    let end = header < 0 ? message.length : header + 4;
    for (let i = 0; i < lines && end < message.length; i++) end = message.indexOf('\n', end) + 1;
    return new PieceReader(this.cut(message.subarray(0, end)));
  }

  async update(): Promise<void> {
    this.calls.update++;
    await new Promise(resolve => setImmediate(resolve));
    if (this.updateFailure) throw this.updateFailure;
    const kept = this.stored.filter((_, i) => !this.marks.has(i + 1));
    this.stored.splice(0, this.stored.length, ...kept);
  }

  async release(): Promise<void> {
    this.calls.release++;
  }

  private message(n: number): Buffer {
    const message = this.stored[n - 1];
    if (message === undefined || !Number.isInteger(n)) throw new RangeError(`no message ${n}`);
    return message;
  }

  /** Through one small buffer used again and again, as a maildrop may do. */
  private async *cut(message: Buffer): AsyncGenerator<Uint8Array> {
    const buffer = Buffer.alloc(Math.min(this.chunk, message.length));
    for (let at = 0; at < message.length; at += this.chunk) {
      const part = message.subarray(at, at + this.chunk);
      buffer.fill('#').set(part);
      yield buffer.subarray(0, part.length);
    }
  }
}

/** What `logins` refers to may be replaced. */
type MemoryServices = SessionServices & LoginParts;

/** What a test sees of the server side. */
export class MemoryWorld {
  readonly logged: string[] = [];
  /** Every maildrop that was opened, in order. */
  readonly maildrops: MemoryMaildrop[] = [];
  readonly logins: string[] = [];
  /** What each of them may be ended through, in the same order. */
  readonly holders: Holder[] = [];
  /** Read by each session as it begins. */
  services: MemoryServices;
  /** Called with each maildrop before it is given to a session. */
  prepare: (maildrop: MemoryMaildrop) => void | Promise<void> = () => {};
  private readonly stored = new Map<string, Buffer[]>();

  constructor(settings: Partial<SessionSettings> = {}, users: typeof SAMPLE = SAMPLE) {
    for (const [user, { messages }] of users) {
      this.stored.set(
        user,
        messages.map(message => Buffer.from(message, 'latin1')),
      );
    }
    const log: Log = {
      write: (level: Level, who, event, fields) =>
        this.logged.push(`${level} ${formatLine(who, event, fields)}`),
    };
    const services: Omit<MemoryServices, 'logins'> = {
      log,
      users: new KeyedLimit(1000),
      throttle: new Throttle({ most: 0, mostWaiting: 100 }),
      authenticator: memoryAuthenticator(users, this.logins),
      askKernel: () => undefined,
      limitReceived: (fd, octets) => linuxHost.limitReceived(fd, octets),
      settings: { ...DEFAULT_SESSION_SETTINGS, failureDelay: 0, ...settings },
      openMaildrop: async (account, _peer, holder) => {
        const maildrop = new MemoryMaildrop(this.mailbox(account));
        await this.prepare(maildrop);
        this.maildrops.push(maildrop);
        this.holders.push(holder);
        return maildrop;
      },
    };
    this.services = Object.assign(services, { logins: new LocalLogins(services) });
  }

  /** The messages a user has now. */
  messagesOf(user: string): string[] {
    return (this.stored.get(user) ?? []).map(message => message.toString('latin1'));
  }

  private mailbox({ user }: Account): Buffer[] {
    const mailbox = this.stored.get(user);
    if (mailbox === undefined) throw new Unavailable('SYS/PERM', 'no mailbox');
    return mailbox;
  }
}

/** Real proofs of plain passwords; what was asked is noted. */
function memoryAuthenticator(users: typeof SAMPLE, logins: string[]): Authenticator {
  const passwords = [...users].map(([user, { password }]) => [user, password]);
  const real = new StaticUsers(Object.fromEntries(passwords));
  return {
    checkPassword(user, password) {
      logins.push(Buffer.from(user).toString('latin1'));
      return real.checkPassword(user, password);
    },
    provable: () => real.provable(),
    scramChallenge: (method, user) => real.scramChallenge(method, user),
    checkProof(proof) {
      logins.push(Buffer.from(proof.user).toString('latin1'));
      return real.checkProof(proof);
    },
  };
}

/**
 * One client's stream as a session uses it: wait for a line, wait until output is accepted, end. All
 * waiting is for `woken`, and all of it ends when the connection does, whoever ended it.
 *
 * Invariants: the stream is only read when a line is asked for, so a client that does not read its
 * replies is not read from either; the idle timer runs only while we wait for the client, from one
 * complete line, or any octets of output it takes, to the next. RFC 1939 §3 (autologout).
 */
import type { Duplex } from 'node:stream';
import { Disconnected } from '../errors.js';
import { type Line, LineReader, MAX_LINE } from '../pop3/request.js';
import type { MaybeLater } from './limits.js';
import { AT_A_TIME, MOST_HELD } from './received.js';
import type { Inbound, Secured, TlsOffer } from './session-services.js';
import { type AskKernel, Silence } from './silence.js';

/** How long a client may take to see our end of the connection, in ms, before it is cut. */
const LINGER = 2000;

const NOBODY = () => {};
const DONE = Promise.resolve();

/** What ended, or will end, a connection. */
export type Reason =
  | 'quit'
  | 'closed'
  | 'idle'
  | 'login-timeout'
  | 'shutdown'
  | 'bad-commands'
  | 'failed-logins'
  | 'not-permitted'
  | 'flooded'
  | 'unavailable'
  | 'taken-over'
  | 'maildrop-lost'
  | 'tls-failed'
  | 'stls-injection'
  | 'error';

/** How long to wait for a client, in ms. */
export interface Patience {
  readonly idleTimeout: number;
  /** How often to look whether a silent client has at least taken output. */
  readonly lookEvery: number;
}

export class Connection {
  private readonly silence: Silence;
  private lines = new LineReader();
  /** Of TLS, before the login. */
  private inbound: Inbound | undefined;
  private wake: () => void = NOBODY;
  /** Looks whether the client is silent for too long; there from the first time that we wait for it. */
  private lookout: NodeJS.Timeout | undefined;
  private readonly onReadable = () => this.wake();
  private readonly onEnd = () => {
    this.endOfInput = true;
    this.wake();
  };
  private endOfInput = false;
  private inHandshake = false;
  private stopped = false;
  private over: Reason | undefined;

  constructor(
    private stream: Duplex,
    private readonly patience: Patience,
    askKernel: AskKernel,
  ) {
    // Of the connection itself, which TLS does not replace.
    this.silence = new Silence(stream, askKernel);
    this.attach(stream);
  }

  private attach(stream: Duplex): void {
    this.stream = stream;
    // The replies to what came before a FIN are still wanted (`printf 'USER...' | nc`).
    stream.allowHalfOpen = true;
    stream.on('readable', this.onReadable);
    stream.on('end', this.onEnd);
    stream.on('error', () => this.end('closed'));
    stream.on('close', () => this.end('closed'));
    if (stream.destroyed) this.end('closed');
    // Whoever has read what comes before POP3 may have come to the end as well.
    else if (stream.readableEnded) this.onEnd();
  }

  /** Why the connection is over; undefined while it is not. */
  get ended(): Reason | undefined {
    return this.over;
  }

  /** Whether `stop()` was called. */
  get stopping(): boolean {
    return this.stopped;
  }

  /** For how long the client has sent no command and taken no output, in ms; 0 while it waits for us. */
  silentFor(): number {
    return this.silence.length();
  }

  /** Throws when the connection is over. */
  mustBeOpen(): void {
    if (this.over !== undefined) throw new Disconnected(this.over);
  }

  /** Whether anything was received behind the line given last, be it the end. */
  get pending(): boolean {
    return this.lines.pending || this.stream.readableLength > 0 || this.endOfInput;
  }

  /**
   * Goes on under TLS. Octets that were received before and not read yet are the handshake's: they can only
   * fail it, they never become lines (failure-checks C59). @throws HandshakeFailed, with the connection cut
   */
  async secure(tls: TlsOffer): Promise<Secured> {
    this.stream.off('readable', this.onReadable).off('end', this.onEnd);
    this.lines = new LineReader();
    this.inHandshake = true;
    try {
      const secured = await tls.start(this.stream);
      this.inbound = secured.inbound;
      this.inbound.tooMuch = () => this.cut('flooded');
      this.attach(secured.stream);
      return secured;
    } finally {
      this.inHandshake = false;
    }
  }

  /** A complete line, if one has arrived. @throws Disconnected after `stop()` */
  nextLine(longest?: number): Line | undefined {
    if (this.stopped) throw new Disconnected('shutdown');
    for (;;) {
      const line = this.lines.next(longest);
      if (line !== undefined) return line;
      if (!this.receive()) return undefined;
    }
  }

  /**
   * Takes what has come, and sees to it that no more is held than may be: what is at hand, and one read more; under
   * TLS, where that is as large as the client likes, only beside a short command. For the end of a line that is half
   * of it already, a read more is risked. @returns whether anything has come
   */
  private receive(): boolean {
    const before = this.lines.octets;
    this.inbound?.allow(MOST_HELD - before);
    const chunk: Buffer | null = this.stream.read();
    if (chunk === null) return false;
    this.lines.push(chunk);
    const room = MOST_HELD - this.lines.octets;
    this.inbound?.allow(room);
    // Who reads nothing never learns that the client is gone.
    if (room >= (this.inbound ? MOST_HELD - MAX_LINE : AT_A_TIME)) this.stream.read(0);
    if (room >= 0 || before + AT_A_TIME <= MOST_HELD) return true;
    this.cut('flooded');
    throw new Disconnected('flooded');
  }

  /** From now on the client is somebody who may send under TLS what he likes. */
  loggedIn(): void {
    this.inbound?.allow(Number.POSITIVE_INFINITY);
    this.inbound = undefined;
  }

  /**
   * The next line, or undefined when the client will send no more; the start of a line that never
   * ended is not a command. Lines that arrived before the connection was lost are still given.
   * @param longest as for `LineReader.next`
   * @throws Disconnected
   */
  line(longest?: number): MaybeLater<Line | undefined> {
    const line = this.nextLine(longest);
    if (line !== undefined || this.endOfInput) return line;
    this.mustBeOpen();
    this.watch();
    return new Promise((resolve, reject) => {
      // When the stream is done with what it is at: of octets that come in many pieces, the first are answered first.
      const wake = () => {
        this.wake = NOBODY;
        void DONE.then(look);
      };
      const look = () => {
        try {
          const line = this.nextLine(longest);
          if (line === undefined && !this.endOfInput) {
            this.mustBeOpen();
            this.wake = wake;
            return;
          }
          this.unwatch();
          resolve(line);
        } catch (error) {
          this.unwatch();
          reject(error);
        }
      };
      this.wake = wake;
    });
  }

  /**
   * Sends octets. Over when the stream has accepted all of them, which it usually has at once.
   * @param unused called once, when it refers to none of them any more, whatever became of them
   * @throws Disconnected
   */
  write(octets: Uint8Array, unused: () => void = NOBODY): MaybeLater<void> {
    let inUse = true;
    const release = () => {
      if (inUse) unused();
      inUse = false;
    };
    if (this.over !== undefined) release();
    this.mustBeOpen();
    let accepted = false;
    let awaited = false;
    this.stream.write(octets, error => {
      release();
      if (error) this.end('closed');
      else accepted = true;
      this.silence.heard();
      if (awaited) this.wake();
    });
    // The kernel usually takes all of it at once; the stream says so at the next tick, but knows it now.
    awaited = this.stream.writableLength > 0;
    if (awaited) return this.until(() => accepted);
    release();
  }

  /** Waits `ms`; the only wait that is not for the client. */
  async pause(ms: number): Promise<void> {
    let passed = false;
    const timer = setTimeout(() => {
      passed = true;
      this.wake();
    }, ms);
    try {
      while (!passed) await this.woken();
    } finally {
      this.wake = NOBODY;
      clearTimeout(timer);
    }
  }

  /** Ends the session in `ms` unless the returned function is called first. */
  deadline(ms: number, reason: Reason): () => void {
    const timer = setTimeout(() => this.cut(reason), ms);
    return () => clearTimeout(timer);
  }

  /** No line is given any more: the session ends after the reply it is at. */
  stop(): void {
    this.stopped = true;
    if (this.inHandshake) this.cut('shutdown'); // Nothing was asked, so there is nothing to finish.
    this.wake();
  }

  /** Ends the connection at once, whatever was not sent yet. */
  cut(reason: Reason): void {
    this.end(reason);
    this.stream.destroy();
  }

  /**
   * Ends the connection after everything written has been sent. With `linger`, what the client still
   * sends is read and dropped for a moment: closing over unread input makes TCP discard our last reply.
   */
  async close(linger: boolean): Promise<void> {
    clearTimeout(this.lookout);
    if (this.stream.destroyed) return;
    const cutIn = (ms: number) => setTimeout(() => this.stream.destroy(), ms);
    // Where all was accepted, our end is on its way at once.
    const sent = this.stream.writableLength === 0;
    let limit = cutIn(sent && linger ? LINGER : this.patience.idleTimeout);
    await new Promise<void>(resolve => {
      this.stream.once('close', resolve);
      this.stream.end(() => {
        if (!linger) this.stream.destroy();
        else if (!sent) {
          clearTimeout(limit);
          limit = cutIn(LINGER);
        }
      });
      if (linger) this.stream.off('readable', this.onReadable).resume();
    });
    clearTimeout(limit);
  }

  private end(reason: Reason): void {
    this.over ??= reason;
    this.wake();
  }

  /** Waits for the client: until `done`, asked again after each event. */
  private async until(done: () => boolean): Promise<void> {
    if (done()) return;
    this.watch();
    try {
      do await this.woken();
      while (!done());
    } finally {
      this.unwatch();
    }
  }

  /** From now on we wait for the client, and cut the connection when it is silent for too long. */
  private watch(): void {
    this.silence.begin();
    this.lookout ??= this.lookIn(this.patience.idleTimeout);
  }

  private unwatch(): void {
    this.wake = NOBODY;
    this.silence.end();
  }

  private lookIn(left: number): NodeJS.Timeout {
    return setTimeout(() => this.look(false), Math.min(left, this.patience.lookEvery));
  }

  /** One timer for all waits: most are short. */
  private look(sure: boolean): void {
    if (this.over !== undefined) return;
    const left = this.patience.idleTimeout - this.silence.length();
    if (left > 0) this.lookout = this.lookIn(left);
    else if (sure) this.cut('idle');
    // This process may have been stopped: what the client has sent meanwhile is read first.
    else setImmediate(() => this.look(true));
  }

  /** Resolves at the next event. @throws Disconnected when the connection is over */
  private woken(): Promise<void> {
    this.mustBeOpen();
    return new Promise(resolve => {
      this.wake = resolve;
    });
  }
}

/**
 * One client's stream as a session uses it: wait for a line, wait until output is accepted, end. All
 * waiting is in `until`, and all of it ends when the connection does, whoever ended it.
 *
 * Invariants: the stream is only read when a line is asked for, so a client that does not read its
 * replies is not read from either; the idle timer runs only while we wait for the client, from one
 * complete line, or one accepted piece of output, to the next. RFC 1939 §3 (autologout).
 */
import type { Duplex } from 'node:stream';
import { Disconnected } from '../errors.js';
import { type Line, LineReader } from '../pop3/request.js';

/** How long a client may take to see our end of the connection, in ms, before it is cut. */
const LINGER = 2000;

/** What ended, or will end, a connection. */
export type Reason =
  | 'quit'
  | 'closed'
  | 'idle'
  | 'login-timeout'
  | 'shutdown'
  | 'bad-commands'
  | 'flooded'
  | 'unavailable'
  | 'maildrop-lost'
  | 'error';

export class Connection {
  private readonly lines = new LineReader();
  private wake: () => void = () => {};
  private readonly onReadable = () => this.wake();
  private endOfInput = false;
  private stopped = false;
  private over: Reason | undefined;

  /** @param idleTimeout in ms */
  constructor(
    private readonly stream: Duplex,
    private readonly idleTimeout: number,
  ) {
    // The replies to what came before a FIN are still wanted (`printf 'USER...' | nc`).
    stream.allowHalfOpen = true;
    stream.on('readable', this.onReadable);
    stream.on('end', () => {
      this.endOfInput = true;
      this.wake();
    });
    stream.on('error', () => this.end('closed'));
    stream.on('close', () => this.end('closed'));
    if (stream.destroyed) this.over = 'closed';
  }

  /** Why the connection is over; undefined while it is not. */
  get ended(): Reason | undefined {
    return this.over;
  }

  /** Whether `stop()` was called. */
  get stopping(): boolean {
    return this.stopped;
  }

  /** Throws when the connection is over. */
  mustBeOpen(): void {
    if (this.over !== undefined) throw new Disconnected(this.over);
  }

  /** A complete line, if one has arrived. @throws Disconnected after `stop()` */
  nextLine(): Line | undefined {
    if (this.stopped) throw new Disconnected('shutdown');
    for (;;) {
      const line = this.lines.next();
      if (line !== undefined) return line;
      const chunk: Buffer | null = this.stream.read();
      if (chunk === null) return undefined;
      this.lines.push(chunk);
    }
  }

  /**
   * The next line, or undefined when the client will send no more; the start of a line that never
   * ended is not a command. Lines that arrived before the connection was lost are still given.
   * @throws Disconnected
   */
  async line(): Promise<Line | undefined> {
    let line: Line | undefined;
    await this.until(() => {
      line = this.nextLine();
      return line !== undefined || this.endOfInput;
    }, this.idleTimeout);
    return line;
  }

  /** Sends octets. Resolves when the stream has accepted all of them and refers to none any more. */
  async write(pieces: readonly Uint8Array[]): Promise<void> {
    this.mustBeOpen();
    let accepted = 0;
    this.stream.cork();
    for (const piece of pieces) {
      this.stream.write(piece, error => {
        if (error) this.end('closed');
        else accepted++;
        this.wake();
      });
    }
    this.stream.uncork();
    await this.until(() => accepted === pieces.length, this.idleTimeout);
  }

  /** Waits `ms`; the only wait that is not for the client. */
  async pause(ms: number): Promise<void> {
    let passed = false;
    const timer = setTimeout(() => {
      passed = true;
      this.wake();
    }, ms);
    try {
      await this.until(() => passed);
    } finally {
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
    const idle = setTimeout(() => this.stream.destroy(), this.idleTimeout);
    let limit: NodeJS.Timeout | undefined;
    if (!this.stream.destroyed) {
      await new Promise<void>(resolve => {
        this.stream.once('close', resolve);
        this.stream.end(() => {
          if (!linger) this.stream.destroy();
          else limit = setTimeout(() => this.stream.destroy(), LINGER);
        });
        if (linger) this.stream.off('readable', this.onReadable).resume();
      });
    }
    clearTimeout(idle);
    clearTimeout(limit);
  }

  private end(reason: Reason): void {
    this.over ??= reason;
    this.wake();
  }

  /** Waits for `done`, asked again after each event; with `idle`, no longer than so many ms. */
  private async until(done: () => boolean, idle?: number): Promise<void> {
    if (done()) return;
    const timer = idle === undefined ? undefined : setTimeout(() => this.cut('idle'), idle);
    try {
      do {
        this.mustBeOpen();
        await new Promise<void>(resolve => {
          this.wake = resolve;
        });
      } while (!done());
    } finally {
      clearTimeout(timer);
      this.wake = () => {};
    }
  }
}

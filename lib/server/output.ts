/**
 * What is to be said, on its way to the connection. Small pieces are put together, so that the replies
 * to pipelined commands leave in few packets; large ones go past the buffer without a copy.
 *
 * Invariants: never more than `CAPACITY` octets are held; a piece given to `octets` is not referred to
 * after its promise resolved, so its owner may use the memory again.
 */
import type { Connection } from './connection.js';

/** Octets put together before they are sent. */
const CAPACITY = 16 * 1024;

/** Octets sent before other sessions get a turn: a fast client of a long listing never waits for input. */
const TURN = 256 * 1024;

/** What a piece of text counts for at least, octets: a thousand short replies are a turn, too. */
const LEAST = 256;

export class Output {
  /** Allocated when there is something to hold, given away when it is sent: idle sessions have none. */
  private buffer: Buffer | undefined;
  private used = 0;
  private sinceTurn = 0;
  private message = false;

  constructor(private readonly connection: Pick<Connection, 'write'>) {}

  /** Whether octets of a message are waiting to be sent. */
  get holdsMessage(): boolean {
    return this.message;
  }

  /** Adds ASCII text. @throws Disconnected */
  async text(text: string): Promise<void> {
    this.sinceTurn += Math.max(0, LEAST - text.length);
    if (text.length > CAPACITY - this.used) await this.flush();
    if (text.length > CAPACITY) return this.send([Buffer.from(text, 'latin1')]);
    this.buffer ??= Buffer.allocUnsafe(CAPACITY);
    this.used += this.buffer.write(text, this.used, 'latin1');
  }

  /** Adds octets of a message. @throws Disconnected */
  async octets(piece: Uint8Array): Promise<void> {
    if (piece.length > CAPACITY - this.used) {
      const held = this.take();
      return this.send(held ? [held, piece] : [piece]);
    }
    this.buffer ??= Buffer.allocUnsafe(CAPACITY);
    this.buffer.set(piece, this.used);
    this.used += piece.length;
    this.message = true;
  }

  /** Sends what is held. Resolves when it was accepted. @throws Disconnected */
  async flush(): Promise<void> {
    const held = this.take();
    if (held) await this.send([held]);
  }

  private take(): Buffer | undefined {
    const held = this.used > 0 ? this.buffer?.subarray(0, this.used) : undefined;
    this.buffer = undefined;
    this.used = 0;
    this.message = false;
    return held;
  }

  private async send(pieces: readonly Uint8Array[]): Promise<void> {
    await this.connection.write(pieces);
    for (const piece of pieces) this.sinceTurn += piece.length;
    if (this.sinceTurn < TURN) return;
    this.sinceTurn = 0;
    await new Promise<void>(resolve => setImmediate(resolve));
  }
}

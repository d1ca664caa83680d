/**
 * What is to be said, on its way to the connection. It is put together in one buffer, so that the replies
 * to pipelined commands leave in few packets, and a message with its status line and terminator in one;
 * a maildrop encodes its messages straight into it.
 *
 * Invariants: never more than `CAPACITY` octets are held; a buffer is used again only after the connection
 * has accepted what was in it.
 */
import type { Connection } from './connection.js';
import type { MaybeLater } from './limits.js';

/** Octets put together before they are sent. */
export const CAPACITY = 64 * 1024;

/** Octets sent before other sessions get a turn: a fast client of a long listing never waits for input. */
const TURN = 256 * 1024;

/** What a piece of text counts for at least, octets: a thousand short replies are a turn, too. */
const LEAST = 256;

/** Places kept by a process whose sessions have nothing to say now. A few: idle sessions are many, busy ones few. */
const MOST_SPARE = 8;

/** Memory to put octets together in, of a bounded size in all. */
interface Pool {
  /** Octets of a piece. */
  readonly size: number;
  /** @returns undefined when there is none left */
  take(): Buffer | undefined;
  /** @returns whether it was one of these */
  giveBack(piece: Buffer): boolean;
}

/** Where octets are put together before they are sent, for all sessions of a process. */
export class OutputPlaces {
  private readonly spare: Buffer[] = [];
  private pool: Pool | undefined;

  /** From now on these are taken first: octets may be put there with fewer copies. */
  prefer(pool: Pool | undefined): void {
    if (pool?.size === CAPACITY) this.pool = pool;
  }

  /** @returns `CAPACITY` octets, the caller's until `giveBack` */
  take(): Buffer {
    return this.pool?.take() ?? this.takeOwn();
  }

  /** The same, not of the pool: what is only text, which strangers can have us hold, takes nothing from messages. */
  takeOwn(): Buffer {
    return this.spare.pop() ?? Buffer.allocUnsafeSlow(CAPACITY);
  }

  /** Nothing may refer to it any more. */
  giveBack(place: Buffer): void {
    if (this.pool?.giveBack(place)) return;
    if (this.spare.length < MOST_SPARE) this.spare.push(place);
  }
}

const ownPlaces = new OutputPlaces();

export class Output {
  /** Taken when there is something to hold, given away when it is sent: idle sessions have none. */
  private buffer: Buffer | undefined;
  private used = 0;
  private sinceTurn = 0;
  private message = false;

  constructor(
    private readonly connection: Pick<Connection, 'write'>,
    private readonly places: OutputPlaces = ownPlaces,
  ) {}

  /** Whether octets of a message are waiting to be sent. */
  get holdsMessage(): boolean {
    return this.message;
  }

  /** Octets that are put together, and not sent. */
  get held(): number {
    return this.used;
  }

  /** Octets that can be added before something must be sent. */
  get room(): number {
    return CAPACITY - this.used;
  }

  /** Adds ASCII text. Nothing to wait for but when it does not fit. @throws Disconnected */
  text(text: string): MaybeLater<void> {
    this.sinceTurn += Math.max(0, LEAST - text.length);
    if (text.length > this.room) return this.flushAndAdd(text);
    this.add(text);
  }

  /** Where octets may be put, `room` of them; they are there when `added` has said so. */
  place(): Buffer {
    this.buffer ??= this.places.take();
    return this.buffer.subarray(this.used);
  }

  /** The first `octets` at `place()` are to be sent. @param message whether they are of a message */
  added(octets: number, message: boolean): void {
    this.used += octets;
    this.message ||= message;
  }

  /** Sends what is held. Over when it was accepted, which is usually at once. @throws Disconnected */
  flush(): MaybeLater<void> {
    const { buffer, used } = this;
    if (buffer === undefined || used === 0) return;
    this.buffer = undefined;
    this.used = 0;
    this.message = false;
    // Also when the connection is lost in the meantime: the kernel may be reading it until then.
    const written = this.connection.write(buffer.subarray(0, used), () => this.places.giveBack(buffer));
    this.sinceTurn += used;
    return this.sinceTurn < TURN ? written : this.endTurn(written);
  }

  private async endTurn(written: MaybeLater<void>): Promise<void> {
    this.sinceTurn = 0;
    await written;
    await new Promise<void>(resolve => setImmediate(resolve));
  }

  private async flushAndAdd(text: string): Promise<void> {
    await this.flush();
    this.add(text);
  }

  /** Forgets what is held and was not sent: the session is over. */
  discard(): void {
    if (this.buffer !== undefined) this.places.giveBack(this.buffer);
    this.buffer = undefined;
    this.used = 0;
  }

  private add(text: string): void {
    if (text.length > CAPACITY) throw new RangeError(`${text.length} octets of text at once`);
    this.buffer ??= this.places.takeOwn();
    this.used += this.buffer.write(text, this.used, 'latin1');
  }
}

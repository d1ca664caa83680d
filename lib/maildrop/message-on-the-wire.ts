/**
 * A message on its way from the mailbox file to whoever sends it: what RETR and TOP read. The octets are
 * encoded from where they were read into the reader's memory, in one step and mostly without a promise.
 */
import { WireForm } from '../mbox/wire.js';
import type { MessageReader } from '../pop3/ports.js';
import type { MessageOctets } from './checked-octets.js';

/** Fewer octets of room are left unused. */
const LEAST = 256;

export class MessageOnTheWire implements MessageReader {
  dots = false;
  /** Octets given so far. */
  #given = 0;
  #finished = false;

  /**
   * @param position offset in the mailbox file of the header
   * @param end      offset of the end of the message
   * @param total    octets of the wire form; Infinity where it is not known (TOP)
   */
  constructor(
    private readonly octets: MessageOctets,
    private readonly form: WireForm,
    private position: number,
    private readonly end: number,
    private readonly total: number,
  ) {}

  read(into: Buffer): number | Promise<number> {
    this.dots = false;
    let used = 0;
    while (!this.#finished) {
      const room = into.subarray(used);
      if (this.position === this.end) {
        this.#finished = true;
        used += this.#took(this.form.finish(room), room);
        this.#mustBeWhole();
        break;
      }
      const most = this.#fitting(room.length);
      if (most < LEAST) break;
      const stop = Math.min(this.end, this.position + most);
      const octets = this.octets.view(this.position, stop);
      if (octets === undefined) return used > 0 ? used : this.#readLater(into, stop);
      used += this.#took(this.form.encode(octets, room), room);
      this.position += octets.length;
      this.#finished = this.form.done;
    }
    return used;
  }

  async #readLater(into: Buffer, stop: number): Promise<number> {
    await this.octets.load(this.position, stop);
    return this.read(into);
  }

  /** How many octets of the file can be encoded into so much room. */
  #fitting(room: number): number {
    return this.total - this.#given + WireForm.slack <= room
      ? Number.POSITIVE_INFINITY
      : WireForm.fitting(room);
  }

  /** What was told of it before may come from an index that is not true (`index-cache.ts`). */
  #mustBeWhole(): void {
    if (this.total !== Number.POSITIVE_INFINITY && this.#given !== this.total) throw this.octets.changed();
  }

  #took(count: number, room: Buffer): number {
    // It is not the message that was measured, as nothing else can be longer.
    if (count > room.length) throw this.octets.changed();
    this.#given += count;
    this.dots ||= this.form.dots;
    return count;
  }
}

/** One that is not known before something was looked at. */
export class LaterReader implements MessageReader {
  #reader: MessageReader | undefined;

  constructor(private readonly look: () => Promise<MessageReader>) {}

  get dots(): boolean {
    return this.#reader?.dots ?? false;
  }

  read(into: Buffer): number | Promise<number> {
    return this.#reader ? this.#reader.read(into) : this.#readFirst(into);
  }

  async #readFirst(into: Buffer): Promise<number> {
    this.#reader = await this.look();
    return this.#reader.read(into);
  }
}

/**
 * A message on its way from the mailbox file to whoever sends it: what RETR and TOP read. The octets are
 * encoded from where they were read into the reader's memory, in one step and mostly without a promise; where
 * both are the kernels' memory, that is the only copy made of them.
 */
import { WireForm } from '../mbox/wire.js';
import type { MessageReader } from '../pop3/ports.js';
import type { MessageOctets } from './checked-octets.js';

/** Fewer octets of room are left unused. */
const LEAST = 256;

if (LEAST < WireForm.leastRoom) throw new Error('a wire form needs more room');

export class MessageOnTheWire implements MessageReader {
  #finished = false;

  /**
   * @param position offset in the mailbox file of the header
   * @param end      offset of the end of the message
   * @param total    octets of the wire form, without stuffing; Infinity where it is not known (TOP)
   */
  constructor(
    private readonly message: MessageOctets,
    private readonly form: WireForm,
    private position: number,
    private readonly end: number,
    private readonly total: number,
  ) {}

  get octets(): number {
    return this.form.octets;
  }

  read(into: Buffer): number | Promise<number> {
    let used = 0;
    while (!this.#finished && into.length - used >= LEAST) {
      if (this.position === this.end) {
        used += this.form.finish(into, used);
        this.#finished = true;
        this.#mustBeWhole();
        break;
      }
      const octets = this.message.view(this.position, this.end);
      if (octets === undefined) return used > 0 ? used : this.#readLater(into);
      used += this.form.encode(octets, into, used);
      this.position += this.form.taken;
      // It is not the message that was measured.
      if (this.octets > this.total) throw this.message.changed();
      this.#finished = this.form.done;
    }
    return used;
  }

  async #readLater(into: Buffer): Promise<number> {
    // Nothing that is sent is shorter than in the file, but for hidden fields.
    await this.message.load(this.position, Math.min(this.end, this.position + into.length));
    return this.read(into);
  }

  /** What was told of it before may come from an index that is not true (`index-cache.ts`). */
  #mustBeWhole(): void {
    if (this.total !== Number.POSITIVE_INFINITY && this.octets !== this.total) throw this.message.changed();
  }
}

/** One that is not known before something was looked at. */
export class LaterReader implements MessageReader {
  #reader: MessageReader | undefined;

  constructor(private readonly look: () => Promise<MessageReader>) {}

  get octets(): number {
    return this.#reader?.octets ?? 0;
  }

  read(into: Buffer): number | Promise<number> {
    return this.#reader ? this.#reader.read(into) : this.#readFirst(into);
  }

  async #readFirst(into: Buffer): Promise<number> {
    this.#reader = await this.look();
    return this.#reader.read(into);
  }
}

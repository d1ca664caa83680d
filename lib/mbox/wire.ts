/**
 * The wire form of a message: what RETR and TOP send. Every line ends in CRLF, metadata fields are gone, a
 * missing final newline is there, and it is byte-stuffed (RFC 1939 §3). A CR that is not before LF, a NUL and any
 * other octet go through as they are.
 *
 * Invariant: all octets for a message, without stuffing, are as many as its index says, for every cutting into chunks.
 */
import { asBuffer, LF } from './bytes.js';
import { encodeWire, encodeWireBy, startOfMessage, type WireState } from './encode-wire.js';
import type { Kernel } from './kernel/kernel.js';
import { METADATA_FIELDS } from './metadata.js';

const NEWLINE = Buffer.of(LF);

export class WireForm {
  /** Octets given so far, without those that byte-stuffing put in. */
  octets = 0;
  /** Octets that the last `encode` has read. */
  taken = 0;

  readonly #state: WireState;
  readonly #kernel: Kernel | undefined;
  /** The start of a line of the header, of which more must be seen. */
  #held: Buffer = NEWLINE;
  #heldLength = 0;

  /**
   * @param options.bodyLines for TOP: how many lines of the body are wanted (RFC 1939 §7)
   * @param options.kernel    goes through the octets, if there is one
   */
  constructor(options: { bodyLines?: number; kernel?: Kernel | undefined } = {}) {
    this.#kernel = options.kernel;
    this.#state = startOfMessage(options.bodyLines ?? Number.POSITIVE_INFINITY);
  }

  /** With so much room, every call comes further. */
  static readonly leastRoom = 2 * (METADATA_FIELDS.longest + 2);

  /** Whether TOP has all it wants: no call will produce anything more. */
  get done(): boolean {
    return this.#state.inBody && this.#state.lines === 0;
  }

  /**
   * Encodes the next octets of [header, contentEnd) of an extent, as far as there is room; some may come with a
   * later call. Some octets behind those that it gives may have been written, but none behind `into`.
   * @param into has `leastRoom` from `at` on
   * @returns how many octets were put there; `taken`
   */
  encode(bytes: Uint8Array, into: Buffer, at = 0): number {
    this.taken = 0;
    const chunk = asBuffer(bytes);
    let given = this.#heldLength > 0 ? this.#resumeLine(chunk, into, at) : 0;
    if (this.#heldLength > 0 || this.taken === chunk.length || this.done) return given;
    given += this.#encode(chunk, this.taken, into, at + given);
    this.taken += this.#state.taken;
    if (this.#state.undecided) this.#hold(chunk);
    return given;
  }

  /** The last octets, when everything was encoded: a few. Call it once. */
  finish(into: Buffer, at = 0): number {
    // The file may end without LF; the scanner counts octets as if it did not.
    const ended = this.#state.last === LF && this.#heldLength === 0;
    return ended || this.done ? 0 : this.encode(NEWLINE, into, at);
  }

  #encode(chunk: Buffer, start: number, into: Buffer, at: number): number {
    const given = this.#kernel
      ? encodeWireBy(this.#kernel, this.#state, chunk, start, into, at)
      : encodeWire(this.#state, chunk, start, into, at);
    this.octets += given - this.#state.stuffed;
    return given;
  }

  #hold(chunk: Buffer): void {
    this.#held = Buffer.alloc(METADATA_FIELDS.longest + 1);
    this.#heldLength = chunk.copy(this.#held, 0, this.taken);
    this.taken = chunk.length;
  }

  /** Goes on with a line whose first octets were the last ones of an earlier chunk. */
  #resumeLine(chunk: Buffer, into: Buffer, at: number): number {
    while (this.taken < chunk.length) {
      this.#held[this.#heldLength++] = chunk[this.taken++]!;
      if (METADATA_FIELDS.judge(this.#held, 0, this.#heldLength) === 'undecided') continue;
      const line = this.#held.subarray(0, this.#heldLength);
      this.#heldLength = 0;
      return this.#encode(line, 0, into, at);
    }
    return 0;
  }
}

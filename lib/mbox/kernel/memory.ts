/**
 * Leases of the kernels' linear memory. It never grows, so a lease stays good until it is given back; and
 * it is bounded: who finds nothing free takes memory of their own, and `borrow` for one call at a time.
 */
import type { KernelExports } from './kernel.js';

/** Pieces of it, all of one size. */
export class Pool {
  readonly #free: Buffer[] = [];

  constructor(
    private readonly buffer: ArrayBuffer,
    start: number,
    /** Octets of a piece. */
    readonly size: number,
    count: number,
  ) {
    // The lowest is taken first, so that memory that was never needed is never touched.
    for (let n = count - 1; n >= 0; n--) this.#free.push(Buffer.from(buffer, start + n * size, size));
  }

  /** @returns a piece, the caller's until `giveBack`; undefined when all are taken */
  take(): Buffer | undefined {
    return this.#free.pop();
  }

  /** Nothing may be reading or writing it any more. @returns whether it is of this memory at all */
  giveBack(piece: Buffer): boolean {
    const ours = piece.buffer === this.buffer;
    if (ours) this.#free.push(piece);
    return ours;
  }
}

export class KernelMemory {
  readonly buffer: ArrayBuffer;
  /** Octets of a slot. */
  readonly slotSize: number;
  /** Where mailboxes are indexed. */
  readonly #slots: Pool;
  /** Where octets are read to that will be sent. */
  readonly blocks: Pool;
  /** Where replies are put together, and shorter reads go. */
  readonly places: Pool;
  /** The one slot that is never leased: what is in it is good until its user awaits, or calls another. */
  readonly shared: Buffer;

  constructor(exports: KernelExports) {
    const { SLOTS, SLOT_SIZE, SLOT_COUNT, BLOCKS, BLOCK_SIZE, BLOCK_COUNT } = exports;
    const { PLACES, PLACE_SIZE, PLACE_COUNT } = exports;
    this.buffer = exports.memory.buffer;
    this.slotSize = SLOT_SIZE.value;
    this.#slots = new Pool(this.buffer, SLOTS.value, this.slotSize, SLOT_COUNT.value);
    this.shared = this.#slots.take()!;
    this.blocks = new Pool(this.buffer, BLOCKS.value, BLOCK_SIZE.value, BLOCK_COUNT.value);
    this.places = new Pool(this.buffer, PLACES.value, PLACE_SIZE.value, PLACE_COUNT.value);
  }

  /** @returns a slot, the caller's until `giveBack`; undefined when all are taken */
  take(): Buffer | undefined {
    return this.#slots.take();
  }

  /** Nothing may be reading or writing it any more. */
  giveBack(slot: Buffer): void {
    this.#slots.giveBack(slot);
  }

  /**
   * A copy of these octets in the one slot that is never leased.
   * @param octets at most `slotSize`
   * @returns good until the caller awaits, or the next call
   */
  borrow(octets: Uint8Array): Buffer {
    this.shared.set(octets);
    return this.shared.subarray(0, octets.length);
  }
}

/**
 * Leases of the kernels' linear memory. It never grows, so a lease stays good until it is given back; and
 * it is bounded: who finds no slot free takes memory of their own, and `borrow` for one call at a time.
 */
import type { KernelExports } from './kernel.js';

export class KernelMemory {
  readonly buffer: ArrayBuffer;
  /** Octets of a slot. */
  readonly slotSize: number;
  readonly #free: Buffer[] = [];
  /** The one slot that is never leased: what is in it is good until its user awaits, or calls another. */
  readonly shared: Buffer;

  constructor({ memory, SLOTS, SLOT_SIZE, SLOT_COUNT }: KernelExports) {
    this.buffer = memory.buffer;
    this.slotSize = SLOT_SIZE.value;
    const slot = (n: number) => Buffer.from(this.buffer, SLOTS.value + n * this.slotSize, this.slotSize);
    this.shared = slot(0);
    // The lowest is taken first, so that memory that was never needed is never touched.
    for (let n = SLOT_COUNT.value - 1; n > 0; n--) this.#free.push(slot(n));
  }

  /** @returns a slot, the caller's until `giveBack`; undefined when all are taken */
  take(): Buffer | undefined {
    return this.#free.pop();
  }

  /** Nothing may be reading or writing it any more. */
  giveBack(slot: Buffer): void {
    this.#free.push(slot);
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

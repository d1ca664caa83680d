/**
 * Where the octets of a mailbox file are read to while it is indexed: two buffers in turn, so that one is
 * filled while the other is gone through. They are in the kernels' memory while there is room, and memory of
 * this scan's own otherwise.
 */
import type { Kernel } from '../mbox/kernel/kernel.js';

/** Octets read at a time; with half of it, handing the reads to another thread takes a fifth of the time. */
export const SCAN_CHUNK = 512 * 1024;

export class ScanBuffers {
  readonly #leased: Buffer[] = [];
  readonly #buffers: Buffer[] = [];
  #turn = 0;

  constructor(private readonly kernel: Kernel | undefined) {}

  /**
   * The buffer to fill now; the one before it stays as it is until the next call.
   * @param left how many octets are wanted in all
   */
  next(left: number): Buffer {
    const turn = this.#turn++ % 2;
    // A small mailbox needs no second one.
    this.#buffers[turn] ??= this.#lease() ?? Buffer.allocUnsafe(SCAN_CHUNK);
    return left < SCAN_CHUNK ? this.#buffers[turn].subarray(0, left) : this.#buffers[turn];
  }

  /** The same octets where the kernels can see them. @returns good until the caller awaits */
  seen(octets: Buffer): Buffer {
    const { kernel } = this;
    return kernel === undefined || kernel.addressOf(octets) >= 0 ? octets : kernel.memory.borrow(octets);
  }

  /** Gives back what was leased. Nothing may be being read any more. */
  giveBack(): void {
    for (const slot of this.#leased.splice(0)) this.kernel?.memory.giveBack(slot);
    this.#buffers.length = 0;
  }

  #lease(): Buffer | undefined {
    const slot = this.kernel?.memory.take();
    if (slot === undefined) return undefined;
    this.#leased.push(slot);
    return slot.subarray(0, SCAN_CHUNK);
  }
}

/**
 * Memory for reading ahead, shared by all sessions of a process and bounded for all of them: who gets no
 * block reads what is asked for and no more. Holders that are idle are told to let go, and when none is
 * left, the memory goes, too: a server of idle sessions holds nothing, but for what was ever used of the kernels'
 * memory. That comes first, as octets there can be encoded where they are.
 */
import type { KernelMemory } from '../mbox/kernel/memory.js';

/** Octets of a block. */
export const BLOCK = 256 * 1024;

/** Blocks of a process at most: 32 MiB. */
const MOST_BLOCKS = 128;

/** How often holders are told, in ms. */
const EVERY = 500;

/** Who holds octets of a mailbox file in memory, in a block or in its own. */
export interface Holder {
  /** Called every `EVERY` ms. */
  tick(): void;
}

export class Blocks {
  readonly #free: Buffer[] = [];
  readonly #holders = new Set<Holder>();
  #taken = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param memory the kernels', if there is one */
  constructor(
    private readonly most = MOST_BLOCKS,
    private readonly memory?: KernelMemory,
  ) {}

  /** @returns undefined when as many are taken as may be */
  take(): Buffer | undefined {
    if (this.#taken >= this.most) return undefined;
    this.#taken++;
    return this.memory?.blocks.take() ?? this.#free.pop() ?? Buffer.allocUnsafeSlow(BLOCK);
  }

  /** Nothing may be reading into it any more. */
  giveBack(block: Buffer): void {
    this.#taken--;
    if (this.memory?.blocks.giveBack(block)) return;
    if (this.#timer !== undefined) this.#free.push(block);
  }

  /** Memory for one shorter read; what does not come of the kernels' memory is not counted. */
  takePlace(length: number): Buffer {
    const place = length > (this.memory?.places.size ?? 0) ? undefined : this.memory?.places.take();
    return place ?? Buffer.allocUnsafe(length);
  }

  /** Nothing may be reading into it any more. */
  giveBackPlace(place: Buffer): void {
    this.memory?.places.giveBack(place);
  }

  /** From now on the holder is told, until `unwatch`. */
  watch(holder: Holder): void {
    this.#holders.add(holder);
    this.#timer ??= setInterval(() => this.#tick(), EVERY).unref();
  }

  unwatch(holder: Holder): void {
    this.#holders.delete(holder);
  }

  #tick(): void {
    for (const holder of this.#holders) holder.tick();
    if (this.#holders.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#free.length = 0;
  }
}

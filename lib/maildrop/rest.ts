/**
 * A session at rest: its client has asked for nothing for a while, its mailbox locks are given back, and descriptors
 * are scarce. Then it keeps none but its connection: mailbox file and journals are closed. Before the next use it
 * waits for its turn to have some, and opens again what it needs, if that is still the same file (`mailbox-file.ts`).
 *
 * Invariant: nothing is closed while it is used. Whoever opens or reads anything does so inside `use`.
 */
import type { SessionDescriptors } from '../pop3/ports.js';
import type { Blocks, Holder } from './blocks.js';

export class Rest implements Holder {
  #uses = 0;
  /** Whether it was used since the last look. */
  #asked = true;
  /** From the moment that it lets go: done when all is closed. */
  #letGo: Promise<void> | undefined;
  #waking: Promise<void> | undefined;
  #over = false;

  /** @param letGo closes everything. Never rejects */
  constructor(
    private readonly descriptors: SessionDescriptors,
    private readonly blocks: Blocks,
    private readonly letGo: () => Promise<void>,
  ) {}

  /** The locks are given back: from now on it may rest. */
  begin(): void {
    if (!this.#over) this.blocks.watch(this);
  }

  /** It rests no more: locks are taken again, or it is over. Resolves when nothing is being closed any more. */
  end(): Promise<void> | undefined {
    this.#over = true;
    this.blocks.unwatch(this);
    return this.#letGo;
  }

  /** Runs what needs descriptors. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    this.#uses++;
    this.#asked = true;
    try {
      if (this.#letGo !== undefined) await this.#wake();
      return await work();
    } finally {
      this.#uses--;
    }
  }

  /** See `Holder`. */
  tick(): void {
    const idle = this.#uses === 0 && !this.#asked && !this.#over;
    this.#asked = false;
    if (!idle || this.#letGo !== undefined || !this.descriptors.scarce) return;
    this.blocks.unwatch(this);
    this.#letGo = this.letGo().then(() => this.descriptors.rest());
  }

  #wake(): Promise<void> {
    this.#waking ??= (async () => {
      await this.#letGo;
      await this.descriptors.wake();
      this.#letGo = undefined;
      this.#waking = undefined;
      this.begin();
    })();
    return this.#waking;
  }
}

/**
 * Indexes of large mailboxes as sessions of this process left them, so that the next one need not even read the file of the
 * cache. An index is with a session or here, never both: the memory it is in goes with it, and goes on to others
 * (`index-memory.ts`) when it is of no use any more.
 *
 * Invariant: what is here was known to be true of a state of the mailbox file, and is given to whoever sees exactly that
 * state; bounded, and who came first goes first.
 */
import type { KeptIndex } from './index-cache-format.js';
import type { IndexMemory } from './index-memory.js';
import type { FileStat } from './io.js';

export interface ShelvedIndex {
  /** Proven. */
  readonly kept: KeptIndex;
  /** What it is in. */
  readonly octets: Buffer<ArrayBufferLike>;
}

/** Whether it is of the file that looks like `stat`, in that state. */
export function isOf({ index, stat: was, seenAt }: KeptIndex, stat: FileStat): boolean {
  const same = was.dev === stat.dev && was.ino === stat.ino && index.size === stat.size;
  // A clock that was set back may give a later change the same time.
  return same && was.mtimeNs === stat.mtimeNs && was.ctimeNs === stat.ctimeNs && seenAt <= Date.now();
}

export class IndexShelf {
  readonly #indexes = new Map<string, ShelvedIndex>();
  readonly #writing = new Map<string, Promise<void>>();
  #octets = 0;

  /** @param most octets of all */
  constructor(
    private readonly memory: IndexMemory,
    private readonly most: number,
  ) {}

  /** Octets kept. */
  get octets(): number {
    return this.#octets;
  }

  has(path: string, stat: FileStat): boolean {
    const shelved = this.#indexes.get(path);
    return shelved !== undefined && isOf(shelved.kept, stat);
  }

  /** @returns what there is under this name, which is the caller's from now on, if it is of that state of the file */
  take(path: string, stat: FileStat): ShelvedIndex | undefined {
    const shelved = this.#remove(path);
    if (shelved === undefined || isOf(shelved.kept, stat)) return shelved;
    this.memory.giveBack(shelved.octets);
    return undefined;
  }

  /** Takes an index, and the memory it is in. */
  put(path: string, shelved: ShelvedIndex): void {
    this.drop(path);
    this.#indexes.set(path, shelved);
    this.#octets += shelved.octets.buffer.byteLength;
    for (const oldest of this.#indexes.keys()) {
      if (this.#octets <= this.most) break;
      this.drop(oldest);
    }
  }

  /** What there is under this name is of no use any more. */
  drop(path: string): void {
    const shelved = this.#remove(path);
    if (shelved !== undefined) this.memory.giveBack(shelved.octets);
  }

  /** Makes whoever asks for this name wait for what a session still does with it after its end. */
  async during(path: string, work: () => Promise<void>): Promise<void> {
    const done = this.settled(path).then(work);
    const settled = done.catch(() => {}); // That it failed is for the caller.
    this.#writing.set(path, settled);
    try {
      await done;
    } finally {
      if (this.#writing.get(path) === settled) this.#writing.delete(path);
    }
  }

  /** When nobody does anything with this name any more. */
  async settled(path: string): Promise<void> {
    await this.#writing.get(path);
  }

  #remove(path: string): ShelvedIndex | undefined {
    const shelved = this.#indexes.get(path);
    this.#indexes.delete(path);
    this.#octets -= shelved?.octets.buffer.byteLength ?? 0;
    return shelved;
  }
}

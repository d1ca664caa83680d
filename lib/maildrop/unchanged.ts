/**
 * What was read in files, remembered by this process for as long as they are exactly as they were then: device, inode,
 * size, mtime and ctime, which no program can choose. So a client that asks for mail every minute does not have
 * a small mailbox read, nor journals that say nothing.
 *
 * Invariants: what was read in the tick of the file system's clock in which the file was changed is not remembered, as
 * another change would look the same; nothing that is deleted rests on it alone; bounded, and who came first goes first.
 */
import type { FileStat } from './io.js';
import { changeBetween } from './mailbox-file.js';
import { isSettled } from './snapshot.js';

interface Known<T> {
  readonly stat: FileStat;
  readonly seenAt: number;
  readonly value: T;
  readonly octets: number;
}

export class Unchanged<T> {
  readonly #files = new Map<string, Known<T>>();
  #octets = 0;

  /** @param most octets of all, as those who remember count them */
  constructor(private readonly most: number) {}

  /** Octets remembered. */
  get octets(): number {
    return this.#octets;
  }

  /** What was read in the file that looks like `stat` now. */
  recall(path: string, stat: FileStat): T | undefined {
    const known = this.#files.get(path);
    // A clock that was set back may give a later change the same time.
    if (known === undefined || known.seenAt > Date.now()) return undefined;
    return changeBetween(known.stat, stat) === 'same' ? known.value : undefined;
  }

  /**
   * @param stat of the file, taken before it was read
   * @param seenAt when that was, milliseconds since 1970
   * @param octets that this takes in memory
   */
  remember(path: string, stat: FileStat, seenAt: number, value: T, octets: number): void {
    this.forget(path);
    if (octets > this.most || !isSettled(stat, seenAt)) return;
    this.#files.set(path, { stat, seenAt, value, octets });
    this.#octets += octets;
    for (const oldest of this.#files.keys()) {
      if (this.#octets <= this.most) break;
      this.forget(oldest);
    }
  }

  forget(path: string): void {
    this.#octets -= this.#files.get(path)?.octets ?? 0;
    this.#files.delete(path);
  }
}

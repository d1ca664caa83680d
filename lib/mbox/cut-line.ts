/**
 * A line that the end of a chunk has cut, as far as it can still be a From_ line: its beginning is held until the rest
 * comes, and never more than a From_ line may have.
 */
import { LF } from './bytes.js';
import { MAX_FROM_LINE } from './from-line.js';

/** Longest line with its line end that can be a From_ line. */
const LONGEST = MAX_FROM_LINE + 2;

export class CutLine {
  readonly #octets = Buffer.alloc(LONGEST);
  #length = 0;

  /** Whether nothing is held. */
  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /**
   * Holds more of it.
   * @param lf where its LF is in the chunk, or -1
   * @returns where the chunk goes on: after the LF, at the end of the chunk, or where the line became too long
   */
  add(chunk: Buffer, at: number, lf: number): number {
    const stop = Math.min(lf < 0 ? chunk.length : lf + 1, at + LONGEST - this.#length);
    this.#length += chunk.copy(this.#octets, this.#length, at, stop);
    return stop;
  }

  /**
   * What is held, once it can be decided about; then nothing is held any more.
   * @returns the whole line with its LF, good until the next `add`; or that it is none; or undefined if more must come
   */
  take(): Buffer | 'no From_ line' | undefined {
    const length = this.#length;
    if (length > 0 && this.#octets[length - 1] === LF) {
      this.#length = 0;
      return this.#octets.subarray(0, length);
    }
    if (length < LONGEST) return undefined;
    this.#length = 0;
    return 'no From_ line';
  }
}

/** The maildrop of a user without a mailbox file: no messages, and nothing is created. */
import type { Maildrop, MessageReader } from '../pop3/ports.js';

export class EmptyMaildrop implements Maildrop {
  readonly messages = 0;
  readonly totalOctets = 0;
  #released: Promise<void> | undefined;

  constructor(private readonly giveBack: () => Promise<void>) {}

  octets(n: number): number {
    return this.#none(n);
  }

  isMarked(n: number): boolean {
    return this.#none(n);
  }

  async mark(n: number): Promise<void> {
    this.#none(n);
  }

  unmarkAll(): void {}

  async uniqueIds(): Promise<readonly string[]> {
    return [];
  }

  retrieve(n: number): MessageReader {
    return this.#none(n);
  }

  top(n: number): MessageReader {
    return this.#none(n);
  }

  update(): Promise<void> {
    return this.release();
  }

  release(): Promise<void> {
    this.#released ??= this.giveBack();
    return this.#released;
  }

  #none(n: number): never {
    throw new RangeError(`message ${n} of an empty maildrop`);
  }
}

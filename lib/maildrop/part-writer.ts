/**
 * Writes one part of a journal, summing it up: in large pieces, while the octets of the next one come in.
 * No octet of it is on its way to the file any more when `settled` returns, whatever became of it.
 */
import type { Checksum } from './checksum.js';
import { type SpoolIo, writeFully } from './io.js';

export class PartWriter {
  #filling: Buffer;
  #writing: Buffer | undefined;
  #filled = 0;
  #written: Promise<void> = Promise.resolve();

  /**
   * @param at    where in the file the part begins
   * @param piece octets written at a time
   */
  constructor(
    private readonly io: SpoolIo,
    private readonly fd: number,
    private at: number,
    private readonly checksum: Checksum,
    piece: number,
  ) {
    this.#filling = Buffer.allocUnsafe(piece);
  }

  /** Takes the next octets; they may be written over when it returns. @throws what an earlier write did */
  async push(octets: Uint8Array): Promise<void> {
    for (let taken = 0; taken < octets.length; ) {
      const part = octets.subarray(taken, taken + this.#filling.length - this.#filled);
      this.#filling.set(part, this.#filled);
      this.#filled += part.length;
      taken += part.length;
      if (this.#filled === this.#filling.length) await this.#write();
    }
  }

  /** Writes what is left. @returns the checksum of all */
  async end(): Promise<Uint8Array> {
    if (this.#filled > 0) await this.#write();
    await this.#written;
    return this.checksum.digest();
  }

  /** Does nothing but wait. */
  async settled(): Promise<void> {
    await this.#written.catch(() => {}); // Thrown by whoever pushes or ends.
  }

  async #write(): Promise<void> {
    const full = this.#filling.subarray(0, this.#filled);
    this.checksum.update(full);
    await this.#written;
    this.#written = writeFully(this.io, this.fd, full, this.at);
    // Looked at before the next write, and must not pass for an error that nobody sees until then.
    this.#written.catch(() => {});
    this.at += full.length;
    this.#filled = 0;
    const spare = this.#writing ?? Buffer.allocUnsafe(this.#filling.length);
    this.#writing = this.#filling;
    this.#filling = spare;
  }
}

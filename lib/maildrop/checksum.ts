/**
 * Whether a part of a journal is what was written, torn by no crash and rotted by no disk: AES-GMAC under a
 * random key that stands beside it. No two contents have the same one but by a chance below 2^-90, whatever
 * they are, since the key was drawn when they were there already; it need not resist forgery. Processors
 * have instructions for it, so that it costs a fifth of a SHA-256, and every build of OpenSSL has it.
 */
import { type CipherGCM, createCipheriv } from 'node:crypto';

/** Octets of a key, and of a checksum. */
export const CHECKSUM = 16;

export class Checksum {
  readonly #cipher: CipherGCM;

  /**
   * @param key  CHECKSUM octets
   * @param part tells apart what is summed under the same key, 0 to 255
   */
  constructor(key: Uint8Array, part: number) {
    const nonce = Buffer.alloc(12);
    nonce[0] = part;
    this.#cipher = createCipheriv('aes-128-gcm', key, nonce);
  }

  /** Takes the next octets, in any cutting. */
  update(octets: Uint8Array): void {
    this.#cipher.setAAD(octets);
  }

  /** Once, after all octets. */
  digest(): Buffer {
    this.#cipher.final();
    return this.#cipher.getAuthTag();
  }
}

/**
 * Nonces that follow from how many were drawn before, so that equal histories make equal journals. Each
 * is still different from every other of the same history, which is all that the journal asks of them.
 * `node:crypto` is mocked with this by the suites that import it, so it cannot be used here.
 */

let drawn = 0;
let zero = false;

/** Goes on from the `count`-th nonce; `unlucky` makes every one of them zero. */
export function seedNonces(count: number, unlucky = false): void {
  drawn = count;
  zero = unlucky;
}

export function noncesDrawn(): number {
  return drawn;
}

/** In place of crypto.randomBytes. */
export function nextNonce(size: number): Buffer {
  drawn++;
  const nonce = Buffer.alloc(size);
  if (zero) return nonce;
  // Any octets that differ: the constant is that of Knuth's multiplicative hashing.
  for (let i = 0; i < size; i++) nonce[i] = Math.imul(drawn * 31 + i + 1, 2654435761) >>> 24;
  return nonce;
}

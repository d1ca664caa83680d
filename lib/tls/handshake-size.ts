/**
 * How much a client may send for its handshake. OpenSSL takes a ClientHello of 128 KiB before it looks at it, and holds
 * it until the end of our patience; real ones have a few thousand octets, and there are no client certificates.
 *
 * Invariant: nothing is looked at while no handshake goes on. Node.js does not tell when OpenSSL reads, so all that
 * go on are looked at together, now and then: more than the limit is held for that long.
 */
import type { Duplex } from 'node:stream';

/** Octets. */
export const MOST_OCTETS = 16 * 1024;
/** How often to look, in ms. */
const LOOK_EVERY = 250;

const looks = new Set<() => void>();
let timer: NodeJS.Timeout | undefined;

/**
 * @param tooLong called, at most once, when a stream has received too much from now on
 * @returns to be called when the handshake is over
 */
export function limitHandshake(stream: Duplex, tooLong: () => void): () => void {
  const before = received(stream);
  const look = () => {
    if (received(stream) - before <= MOST_OCTETS) return;
    over();
    tooLong();
  };
  const over = () => {
    looks.delete(look);
    if (looks.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
  looks.add(look);
  timer ??= setInterval(() => {
    for (const one of looks) one();
  }, LOOK_EVERY).unref();
  return over;
}

/** Octets taken from the kernel; 0 for a stream that is no socket. */
function received(stream: Duplex): number {
  return 'bytesRead' in stream && typeof stream.bytesRead === 'number' ? stream.bytesRead : 0;
}

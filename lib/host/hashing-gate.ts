/**
 * Slow hashes run on libuv's four threads, which they share with all file I/O: four at once would freeze
 * every session's reads.
 *
 * Invariant: at most MAX_AT_ONCE run, whoever asked for them; the rest wait in line.
 */

const MAX_AT_ONCE = 2;

let running = 0;
const waiting: (() => void)[] = [];

/** Runs `work` when it is its turn. Settles as `work` does. */
export async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (running >= MAX_AT_ONCE) await new Promise<void>(resolve => waiting.push(resolve));
  else running += 1;
  try {
    return await work();
  } finally {
    // The place goes to the next in line without being given up, so nobody can slip in between.
    const next = waiting.shift();
    if (next === undefined) running -= 1;
    else next();
  }
}

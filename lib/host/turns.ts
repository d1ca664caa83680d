/**
 * Taking turns for what a host has few of: helper processes, connections to a daemon.
 *
 * Invariants: at most `atOnce` tasks run, also when their callers were told long ago that time is up, for
 * a place is free only when its task has ended; nobody waits longer than `timeout`, in the line and at
 * work together; a line too long is not joined.
 */
import { Unavailable } from '../errors.js';

/** In the line; more than that at once is an attack, and waiting would only make it last. */
const MAX_WAITING = 100;

const MESSAGE = 'Cannot check passwords now';

export class Turns {
  #running = 0;
  readonly #line: (() => void)[] = [];

  /** @param timeout milliseconds from `run` to its end */
  constructor(
    private readonly atOnce: number,
    private readonly timeout: number,
  ) {}

  /**
   * Runs a task when its turn comes.
   * @param task must end soon after its signal is aborted, which is when time is up
   * @throws Unavailable SYS/TEMP when time is up, or too many are in the line
   */
  run<T>(task: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#running >= this.atOnce && this.#line.length >= MAX_WAITING) {
      return Promise.reject(unavailable('too many wait'));
    }
    return new Promise<T>((resolve, reject) => {
      const stop = new AbortController();
      const timer = setTimeout(() => {
        const place = this.#line.indexOf(begin);
        if (place !== -1) this.#line.splice(place, 1);
        stop.abort();
        reject(unavailable(place === -1 ? 'no answer in time' : 'no turn in time'));
      }, this.timeout);
      const begin = () => {
        this.#running++;
        // A task that throws at once is one that fails.
        void (async () => task(stop.signal))()
          .then(resolve, reject)
          .finally(() => {
            clearTimeout(timer);
            this.#running--;
            this.#line.shift()?.();
          });
      };
      if (this.#running < this.atOnce) begin();
      else this.#line.push(begin);
    });
  }
}

function unavailable(reason: string): Unavailable {
  return new Unavailable('SYS/TEMP', MESSAGE, { cause: new Error(reason) });
}

/**
 * Whether another process still answers. Counted are questions without an answer, not time: when this process, or
 * the whole host, was stopped for a while, the other one has not been silent for longer than we have been deaf.
 */

/** Questions in a row without an answer, after which nobody waits any more. */
const MOST_UNANSWERED = 4;

export class Pulse {
  #unanswered = 0;
  readonly #timer: NodeJS.Timeout;

  /**
   * @param patience how long the other one may be silent, in ms
   * @param ask what it is to answer, by a call of `heard`
   * @param onSilent called once, when it does not
   */
  constructor(patience: number, ask: () => void, onSilent: () => void) {
    this.#timer = setInterval(() => {
      if (this.silent) {
        this.stop();
        onSilent();
        return;
      }
      this.#unanswered++;
      ask();
    }, patience / MOST_UNANSWERED);
  }

  /** Whether nothing was heard for so long. */
  get silent(): boolean {
    return this.#unanswered === MOST_UNANSWERED;
  }

  heard(): void {
    this.#unanswered = 0;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

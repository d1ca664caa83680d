/**
 * Refused connections in the log: a flood of them costs a few lines, and their number (failure-checks C67).
 *
 * Invariant: of a window at most `LINES` lines and a sum are written, and no more than that is remembered.
 */
import type { Fields, Level, Log } from '../log.js';

/** Lines of one window, each for another address, event and reason. */
export const LINES = 10;
/** How long a window is, in ms. */
export const WINDOW = 10_000;

export class RefusalLog {
  readonly #written = new Set<string>();
  #more = 0;
  #window: NodeJS.Timeout | undefined;

  constructor(private readonly log: Log) {}

  write(level: Level, who: string, event: string, fields: Fields & { readonly reason: string }): void {
    this.#window ??= setTimeout(() => this.close(), WINDOW).unref();
    const key = `${event} ${who} ${fields.reason}`;
    if (this.#written.has(key) || this.#written.size >= LINES) {
      this.#more++;
      return;
    }
    this.#written.add(key);
    this.log.write(level, who, event, fields);
  }

  /** Ends the window: writes how many were left out. */
  close(): void {
    clearTimeout(this.#window);
    this.#window = undefined;
    this.#written.clear();
    if (this.#more > 0) this.log.write('warn', '-', 'refused-more', { connections: this.#more });
    this.#more = 0;
  }
}

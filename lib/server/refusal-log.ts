/**
 * What those can make us write who have not logged in: a flood of refused connections, failed handshakes or
 * ends without a login costs a few lines, and their number, so that it neither fills a disk nor hides the rest
 * (failure-checks C67). So do logins that are turned away before anything was checked, such as those of whom too many
 * wait already. Refused logins are not among them: they take their time, and fail2ban wants each.
 *
 * Invariant: of a window and an event at most `LINES` lines and a sum are written, and no more is remembered.
 */
import type { Fields, Level, Log } from '../log.js';

/** Lines of one event in one window, each for another address, reason or cause. */
export const LINES = 10;
/** How long a window is, in ms. */
export const WINDOW = 10_000;

interface Written {
  readonly keys: Set<string>;
  more: number;
}

export class RefusalLog implements Log {
  /** By event, of which there are few: none is a client's. */
  readonly #events = new Map<string, Written>();
  #window: NodeJS.Timeout | undefined;

  constructor(private readonly log: Log) {}

  write(level: Level, who: string, event: string, fields: Fields = {}): void {
    // For who asks for all of it.
    if (level === 'debug') {
      this.log.write(level, who, event, fields);
      return;
    }
    this.#window ??= setTimeout(() => this.close(), WINDOW).unref();
    const written = this.#events.get(event) ?? { keys: new Set(), more: 0 };
    this.#events.set(event, written);
    const key = `${who} ${fields.reason} ${fields.cause}`;
    if (written.keys.has(key) || written.keys.size >= LINES) {
      written.more++;
      return;
    }
    written.keys.add(key);
    this.log.write(level, who, event, fields);
  }

  /** Ends the window: writes how many were left out of each event. */
  close(): void {
    clearTimeout(this.#window);
    this.#window = undefined;
    for (const [of, { more }] of this.#events) {
      if (more > 0) this.log.write('warn', '-', 'refused-more', { of, connections: more });
    }
    this.#events.clear();
  }
}

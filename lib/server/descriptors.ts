/**
 * What there is of descriptors (`ulimit -n`, `LimitNOFILE=`), shared out so that who is served never lacks one for a
 * lock or a journal, and one too many is told so (failure-checks C71). A connection takes one, its session the rest
 * of what it may need, from the right password on. So strangers, who do not get that far, cost little; and they never
 * take all, for somebody else must be able to log in.
 */
import { readFileSync } from 'node:fs';

/** For what a server has open whoever is connected: listeners, libraries, pipes to PAM, watches. */
const OF_SERVER = 64;
/** Of a session while it deletes, besides its socket: mailbox file, session lock, journal and directory of it, dotlock. */
const OF_SESSION = 5;
/** Of all, what connections that have not logged in may have. */
const STRANGERS_SHARE = 0.6;

/** @returns the limit; Infinity where the system does not tell it */
export function openFilesLimit(limits = readLimits()): number {
  return Number(/^Max open files +([0-9]+) /m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
}

/** The descriptors of one process. */
export class DescriptorBudget {
  readonly #all: number;
  #used = 0;
  #strangers = 0;

  /** @param limit of open files */
  constructor(limit = openFilesLimit()) {
    this.#all = Math.max(1 + OF_SESSION, limit - OF_SERVER);
  }

  /** Connections that may all log in. */
  get sessions(): number {
    return Math.floor(this.#all / (1 + OF_SESSION));
  }

  /** Connections that may be open while nobody has logged in. */
  get connections(): number {
    return Math.max(1, Math.floor(this.#all * STRANGERS_SHARE));
  }

  /**
   * For a connection, if it could log in now.
   * @returns what to call once when it is over; undefined when there are too few
   */
  connect(): (() => void) | undefined {
    if (this.#strangers >= this.connections || this.#used + 1 + OF_SESSION > this.#all) return undefined;
    this.#used++;
    this.#strangers++;
    return () => {
      this.#used--;
      this.#strangers--;
    };
  }

  /**
   * For the session of a connection that was counted in.
   * @returns what to call once when it is over; undefined when there are too few
   */
  logIn(): (() => void) | undefined {
    if (this.#used + OF_SESSION > this.#all) return undefined;
    this.#used += OF_SESSION;
    this.#strangers--;
    return () => {
      this.#used -= OF_SESSION;
      this.#strangers++;
    };
  }
}

/** Node.js has raised the soft limit to the hard one when it started. */
function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'latin1');
  } catch {
    return ''; // No Linux.
  }
}

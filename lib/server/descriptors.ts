/**
 * What there is of descriptors (`ulimit -n`, `LimitNOFILE=`), shared out so that who is served never lacks one for a
 * lock or a journal, and one too many is told so (failure-checks C71). A connection takes one, its session the rest
 * of what it may need, from the right password on. So strangers, who do not get that far, cost little; and they never
 * take all, for somebody else must be able to log in. A session that is idle may give its own back for a while: so
 * that it can go on, some are not given to those who come new.
 *
 * Invariant: who waits to go on comes before who comes new, and waits only for others who are at work.
 */
import { readFileSync } from 'node:fs';
import type { SessionDescriptors } from '../pop3/ports.js';

/** For what a server has open whoever is connected: listeners, libraries, pipes to PAM, watches. */
const OF_SERVER = 64;
/** Of a session while it deletes, besides its socket: mailbox file, dotlock, both journals and the directory of them. */
const OF_SESSION = 5;
/** Of all, what connections that have not logged in may have. */
const STRANGERS_SHARE = 0.6;
/** Of all, what is used when idle sessions should do without theirs... */
const SCARCE_FROM = 0.5;
/** ...and what is kept for them at most. */
const RETURN_SHARE = 0.1;

/** @returns the limit; Infinity where the system does not tell it */
export function openFilesLimit(limits = readLimits()): number {
  return Number(/^Max open files +([0-9]+) /m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
}

/** The descriptors of one process. */
export class DescriptorBudget {
  readonly #all: number;
  #used = 0;
  #strangers = 0;
  #resting = 0;
  /** Sessions that were at rest and want to go on. */
  readonly #waiting: (() => void)[] = [];

  /** @param limit of open files */
  constructor(limit = openFilesLimit()) {
    this.#all = Math.max(1 + OF_SESSION, limit - OF_SERVER);
  }

  /** Connections that may all log in, and delete at the same time. */
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
    if (this.#strangers >= this.connections || !this.#areLeft(1 + OF_SESSION)) return undefined;
    this.#used++;
    this.#strangers++;
    return () => {
      this.#strangers--;
      this.#giveBack(1);
    };
  }

  /**
   * For the session of a connection that was counted in.
   * @returns its descriptors, to be ended once; undefined when there are too few
   */
  logIn(): CountedDescriptors | undefined {
    if (!this.#areLeft(OF_SESSION)) return undefined;
    this.#used += OF_SESSION;
    this.#strangers--;
    return new OfSession(this);
  }

  /** Whether idle sessions should do without theirs. */
  get scarce(): boolean {
    return this.#used > this.#all * SCARCE_FROM;
  }

  /** One more session rests. */
  rest(): void {
    this.#resting++;
    this.#giveBack(OF_SESSION);
  }

  /** It goes on, when there are descriptors for it. */
  async wake(): Promise<void> {
    await this.#take();
    this.#resting--;
  }

  /** A session is over. @param resting whether it rested */
  end(resting: boolean): void {
    this.#strangers++;
    if (resting) this.#resting--;
    else this.#giveBack(OF_SESSION);
  }

  /** Whether who comes new may have so many. */
  #areLeft(count: number): boolean {
    const kept = Math.min(this.#resting * OF_SESSION, this.#all * RETURN_SHARE);
    return this.#waiting.length === 0 && this.#used + count + kept <= this.#all;
  }

  async #take(): Promise<void> {
    if (this.#waiting.length > 0 || this.#used + OF_SESSION > this.#all) {
      // Who lets it go on counts it.
      await new Promise<void>(resolve => this.#waiting.push(resolve));
    } else this.#used += OF_SESSION;
  }

  #giveBack(count: number): void {
    this.#used -= count;
    while (this.#used + OF_SESSION <= this.#all) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#used += OF_SESSION;
      next();
    }
  }
}

/** Those of one session. */
export interface CountedDescriptors extends SessionDescriptors {
  /** The session is over; it rests, or has closed all it had. */
  end(): void;
}

class OfSession implements CountedDescriptors {
  #resting = false;

  constructor(private readonly budget: DescriptorBudget) {}

  get scarce(): boolean {
    return this.budget.scarce;
  }

  rest(): void {
    this.#resting = true;
    this.budget.rest();
  }

  async wake(): Promise<void> {
    await this.budget.wake();
    this.#resting = false;
  }

  end(): void {
    this.budget.end(this.#resting);
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

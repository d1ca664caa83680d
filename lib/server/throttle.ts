/**
 * Slows down whoever guesses passwords. Failures are counted by address, by user, and by both; each further
 * attempt waits, before anything is checked, for a time that doubles. The wait costs a timer: no hash, no
 * helper, no lock.
 *
 * Invariants: nobody is ever refused for failures of others. Whoever has logged in from an address before
 * waits only for failures of their own there, so that an attack from elsewhere, or by a neighbour behind the
 * same router, does not keep a user out; others wait at most `most` for an address, and less for a user.
 * Unknown users are counted like any other. Memory is bounded.
 */
import { networkOf } from '../networks.js';

export interface ThrottleSettings {
  /** The longest wait for one attempt, milliseconds; 0 for none at all. */
  readonly most: number;
  /** Attempts from one address that may wait at a time. */
  readonly mostWaiting: number;
}

/** An attempt that may go on after `wait` milliseconds. One of its ends must be called. */
export interface Attempt {
  readonly wait: number;
  failed(): void;
  succeeded(): void;
  /** It told nothing: the client left before anything was checked, or a backend is down. */
  abandoned(): void;
}

/** Failures that cost nothing: by a hand that slips, a client that tries its methods one after the other. */
const FREE = { pair: 3, address: 5, user: 20 };
/** The most that is waited for a user's failures from elsewhere, of the setting. */
const USER_SHARE = 1 / 3;
/** A count is halved after so long without a failure, milliseconds. */
const HALF_LIFE = 10 * 60_000;
/** Entries of each kind; the oldest are forgotten first. */
const MOST_ENTRIES = 10_000;
/** Longer names than any user has count as one. */
const LONGEST_NAME = 64;

interface Count {
  failures: number;
  /** Attempts that have begun and not ended. */
  waiting: number;
  since: number;
}

export class Throttle {
  readonly #pairs: Counts;
  readonly #addresses: Counts;
  readonly #users: Counts;
  /** Who has logged in from where. */
  readonly #known = new Set<string>();

  /** @param now a clock, milliseconds */
  constructor(
    private readonly settings: ThrottleSettings,
    now: () => number = () => performance.now(),
  ) {
    this.#pairs = new Counts(now);
    this.#addresses = new Counts(now);
    this.#users = new Counts(now);
  }

  /** @returns undefined when too many from this address are waiting already */
  begin(address: string, user: Uint8Array): Attempt | undefined {
    const network = networkOf(address);
    const name = countedAs(user);
    const pair = `${network} ${name}`;
    const mine = this.#pairs.at(pair);
    const ofAddress = this.#addresses.at(network);
    const ofUser = this.#users.at(name);
    const wait = this.#wait(pair, mine, ofAddress, ofUser);
    if (wait > 0 && ofAddress.waiting >= this.settings.mostWaiting) return undefined;
    const counts = [mine, ofAddress, ofUser];
    for (const count of counts) count.waiting++;
    let over = false;
    const end = (then: () => void) => () => {
      if (over) return;
      over = true;
      for (const count of counts) count.waiting--;
      then();
    };
    return {
      wait,
      failed: end(() => {
        this.#pairs.fail(pair);
        this.#addresses.fail(network);
        this.#users.fail(name);
      }),
      succeeded: end(() => {
        this.#pairs.forget(pair);
        this.#remember(pair);
      }),
      abandoned: end(() => {}),
    };
  }

  #wait(pair: string, mine: Count, ofAddress: Count, ofUser: Count): number {
    const { most } = this.settings;
    const own = delay(mine, FREE.pair, most);
    if (this.#known.has(pair)) return own;
    return Math.max(own, delay(ofAddress, FREE.address, most), delay(ofUser, FREE.user, most * USER_SHARE));
  }

  #remember(pair: string): void {
    this.#known.delete(pair);
    this.#known.add(pair);
    if (this.#known.size <= MOST_ENTRIES) return;
    for (const oldest of this.#known) {
      this.#known.delete(oldest);
      return;
    }
  }
}

/** The name that a user's failures are counted by. */
export function countedAs(user: Uint8Array): string {
  return Buffer.from(user.subarray(0, LONGEST_NAME)).toString('latin1');
}

/** 1 s, 2 s, 4 s ... once the free failures are used up; attempts under way count as if they had failed. */
function delay({ failures, waiting }: Count, free: number, most: number): number {
  const over = failures - free;
  if (over < 0) return 0;
  return Math.min(most, 1000 * 2 ** Math.min(20, over + waiting));
}

class Counts {
  readonly #counts = new Map<string, Count>();

  constructor(private readonly now: () => number) {}

  /** The count of a key as it is now; it is kept only from the first failure on, or while attempts wait. */
  at(key: string): Count {
    const count = this.#counts.get(key);
    if (count === undefined) {
      const fresh = { failures: 0, waiting: 0, since: this.now() };
      this.#put(key, fresh);
      return fresh;
    }
    const halvings = Math.floor((this.now() - count.since) / HALF_LIFE);
    if (halvings > 0) {
      count.failures = Math.floor(count.failures / 2 ** Math.min(halvings, 60));
      count.since += halvings * HALF_LIFE;
    }
    return count;
  }

  fail(key: string): void {
    const count = this.at(key);
    count.failures++;
    count.since = this.now();
    this.#put(key, count);
  }

  forget(key: string): void {
    this.at(key).failures = 0;
  }

  /** Puts it last, and forgets the oldest that nobody waits for. */
  #put(key: string, count: Count): void {
    this.#counts.delete(key);
    this.#counts.set(key, count);
    if (this.#counts.size <= MOST_ENTRIES) return;
    for (const [oldest, { waiting }] of this.#counts) {
      if (waiting > 0) continue;
      this.#counts.delete(oldest);
      return;
    }
  }
}

/**
 * How many connections may be open: in all, and from one address, which of IPv6 is a network (failure-checks
 * C67).
 */
import { networkOf } from '../networks.js';

/** A connection that has been counted in. */
export interface Place {
  /** Counts it for its client's address, too; once. @returns why it must be refused */
  countFor(address: string): MaybeLater<string | undefined>;
  /** Once, when it is over. */
  leave(): void;
}

/** At once where one process counts; later where it asks the one that counts for all. */
export type MaybeLater<T> = T | Promise<T>;

/** What a server asks before it serves a connection. */
export interface Admission {
  /** Connections open now, of this process. */
  readonly total: number;
  /**
   * Counts a connection in.
   * @param address of its client, if that is known already; else `countFor` comes later
   * @returns its place, or why it must be refused
   */
  enter(address: string | undefined): MaybeLater<Place | { readonly refused: string }>;
}

export class ConnectionLimits implements Admission {
  #total = 0;
  readonly #addresses: KeyedLimit;

  constructor(
    private readonly most: number,
    mostPerAddress: number,
  ) {
    this.#addresses = new KeyedLimit(mostPerAddress);
  }

  /** Connections open now. */
  get total(): number {
    return this.#total;
  }

  enter(address: string | undefined): LocalPlace | { readonly refused: string } {
    if (this.#total >= this.most) return { refused: 'too many connections' };
    this.#total++;
    let leaveAddress: (() => void) | undefined;
    const place: LocalPlace = {
      countFor: from => {
        leaveAddress = this.#addresses.enter(networkOf(from));
        return leaveAddress ? undefined : 'too many connections from your address';
      },
      leave: () => {
        this.#total--;
        leaveAddress?.();
      },
    };
    const refused = address === undefined ? undefined : place.countFor(address);
    if (refused === undefined) return place;
    place.leave();
    return { refused };
  }
}

/** A place of this process's own counting. */
export interface LocalPlace extends Place {
  countFor(address: string): string | undefined;
}

/** At most so many of each key. Memory is bounded by the number of those inside. */
export class KeyedLimit {
  readonly #inside = new Map<string, number>();

  constructor(private readonly most: number) {}

  /** @returns what to call once when it is over; undefined when there are too many already */
  enter(key: string): (() => void) | undefined {
    const inside = this.#inside.get(key) ?? 0;
    if (inside >= this.most) return undefined;
    this.#inside.set(key, inside + 1);
    return () => {
      const left = (this.#inside.get(key) ?? 1) - 1;
      if (left > 0) this.#inside.set(key, left);
      else this.#inside.delete(key);
    };
  }
}

/**
 * How many connections may be open: in all, and from one address, which of IPv6 is a network (failure-checks
 * C67).
 */
import { networkOf } from '../networks.js';

/** A connection that has been counted in. */
export interface Place {
  /** Counts it for its client's address, too; once. @returns why it must be refused */
  countFor(address: string): string | undefined;
  /** Once, when it is over. */
  leave(): void;
}

export class ConnectionLimits {
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

  /** Counts a connection in. @returns its place, or why it must be refused */
  enter(): Place | { readonly refused: string } {
    if (this.#total >= this.most) return { refused: 'too many connections' };
    this.#total++;
    let leaveAddress: (() => void) | undefined;
    return {
      countFor: address => {
        leaveAddress = this.#addresses.enter(networkOf(address));
        return leaveAddress ? undefined : 'too many connections from your address';
      },
      leave: () => {
        this.#total--;
        leaveAddress?.();
      },
    };
  }
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

/**
 * The keys of session tickets (RFC 5077, RFC 8446 §4.6.1): others each hour, and the old ones cannot be found again.
 * Who steals a key can read what he has recorded of the sessions of TLS 1.2 whose tickets it made; without tickets, a
 * client that comes every minute would cost a whole handshake each time.
 *
 * Invariant: processes that began with the same secret have the same key at the same hour; what an hour's
 * secret was cannot be told from a later one, since each is a digest of the one before.
 */
import { createHmac, randomBytes } from 'node:crypto';

/** How long a key is used, in ms. */
export const TICKET_KEY_LIFE = 3_600_000;

/** What another process needs to have the same keys from now on. */
export interface TicketSecret {
  /** Of the time by the clock, in lives. */
  readonly epoch: number;
  readonly secret: Buffer;
}

export class TicketKeys {
  #epoch: number;
  #secret: Buffer;

  /**
   * @param from of another process; default: random
   * @param clock in ms since 1970
   */
  constructor(
    from?: TicketSecret,
    private readonly clock: () => number = Date.now,
  ) {
    this.#epoch = from?.epoch ?? this.#now;
    this.#secret = from ? Buffer.from(from.secret) : randomBytes(32);
    this.turn();
  }

  /** Forgets the keys of hours that are over. @returns whether there are new ones */
  turn(): boolean {
    if (this.#epoch >= this.#now) return false;
    for (; this.#epoch < this.#now; this.#epoch++) {
      const next = digest(this.#secret, 'next');
      this.#secret.fill(0);
      this.#secret = next;
    }
    return true;
  }

  /** 48 octets, as OpenSSL takes them. */
  get octets(): Buffer {
    return digest(this.#secret, 'ticket').subarray(0, 48);
  }

  /** For another process. */
  get secret(): TicketSecret {
    this.turn();
    return { epoch: this.#epoch, secret: Buffer.from(this.#secret) };
  }

  get #now(): number {
    return Math.floor(this.clock() / TICKET_KEY_LIFE);
  }
}

function digest(secret: Buffer, label: string): Buffer {
  return createHmac('sha512', secret).update(label).digest();
}

/**
 * How much OpenSSL holds of somebody who has not logged in: a record until it is whole, up to 16 KiB and what
 * encryption adds, and a handshake until it can be looked at, up to 128 KiB; who has more than may be held is cut.
 *
 * Node.js does not tell when OpenSSL reads, so all such connections are looked at in each turn of the event
 * loop, after it has read: a hook that costs nothing while nothing happens. To see the head of each record first, all
 * octets would have to go through JavaScript, and a download would take twice the processor's time.
 *
 * Invariant: after no turn is more held than `allow` has said. What OpenSSL holds is never taken for less than it is:
 * all that was read since it last gave a plaintext, and of the turn in which it did what is not that plaintext.
 */
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';

/** Octets that may be held while nothing else was said, the whole handshake among them. */
export const LIMIT = 16 * 1024;

/** The contract is `Inbound` of lib/server. */
export interface Inbound {
  allow(most: number): void;
  tooMuch: () => void;
}

const watched = new Set<HeldByTls>();
let looking = false;

/** After each turn, as long as there is anybody; it keeps no turn from waiting. */
function look(): void {
  looking = watched.size > 0;
  if (looking) setImmediate(look).unref();
  for (const one of watched) one.look();
}

export class HeldByTls implements Inbound {
  tooMuch: () => void = () => {};
  #most = LIMIT;
  #held = 0;
  /** Taken from the kernel, and given as plaintext, at the last look. */
  #taken: number;
  #given = 0;
  #handshake = true;

  /** @param stream below; one that is no socket is not looked at */
  constructor(
    private readonly stream: Duplex,
    private readonly tls: TLSSocket,
  ) {
    this.#taken = octetsRead(stream);
    watched.add(this);
    tls.once('close', () => watched.delete(this));
    if (!looking) look();
  }

  /** The handshake is over: what follows is all of this turn. */
  secured(): void {
    this.#handshake = false;
    this.#held = 0;
  }

  allow(most: number): void {
    this.#most = most;
    if (most === Number.POSITIVE_INFINITY) watched.delete(this);
  }

  look(): void {
    const taken = octetsRead(this.stream);
    const now = taken - this.#taken;
    if (now === 0) return;
    this.#taken = taken;
    const given = octetsRead(this.tls) - this.#given;
    this.#given += given;
    this.#held += now - given;
    // What had been read before was of the record whose plaintext it has given now.
    if (given > 0) this.#held = Math.max(0, Math.min(this.#held, now));
    const waiting = this.#handshake ? 0 : this.tls.readableLength;
    if (this.#held + waiting <= this.#most) return;
    watched.delete(this);
    this.tooMuch();
  }
}

function octetsRead(stream: Duplex): number {
  return 'bytesRead' in stream && typeof stream.bytesRead === 'number' ? stream.bytesRead : 0;
}

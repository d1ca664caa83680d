/**
 * How much OpenSSL holds of somebody who has not logged in: a record until it is whole, up to 16 KiB and what
 * encryption adds, and a handshake until it can be looked at, up to 128 KiB; who has more than may be held is cut.
 *
 * Node.js does not tell when OpenSSL reads, so all such connections are looked at in each turn of the event
 * loop, after it has read: a hook that costs nothing while nothing happens. To see the head of each record first, all
 * octets would have to go through JavaScript, and a download would take twice the processor's time.
 *
 * Invariant: after no turn is more held than `allow` has said; in a crowd, for no longer than some milliseconds, and
 * never more than a record and a read. What OpenSSL holds is not taken for less than it is: all that was read since it
 * last gave a plaintext, and of the turn in which it did what is not that plaintext.
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

/** More connections than this are a crowd, and of a crowd so many are looked at in a millisecond, on average. */
const CROWD = 100;
const LOOKS_PER_MS = 500;

const watched = new Set<HeldByTls>();
let looking = false;
let last = 0;
let awaited = false;

/** After each turn, as long as there is anybody; it keeps no turn from waiting. */
function look(): void {
  looking = watched.size > 0;
  if (!looking) return;
  setImmediate(look).unref();
  if (watched.size > CROWD && !isTime()) return;
  for (const one of watched) one.look();
}

/** Whether it is long enough ago that all were looked at; if not, there is a turn when it is. */
function isTime(): boolean {
  const now = performance.now();
  const left = last + watched.size / LOOKS_PER_MS - now;
  if (left <= 0) {
    last = now;
    return true;
  }
  if (!awaited) {
    awaited = true;
    setTimeout(() => {
      awaited = false;
    }, left).unref();
  }
  return false;
}

export class HeldByTls implements Inbound {
  tooMuch: () => void = () => {};
  #most = LIMIT;
  #held = 0;
  /** Taken from the kernel, and given as plaintext, at the last look. */
  #taken: number;
  #given = 0;
  #handshake = true;
  /** What is looked at, as long as it is. */
  #connection: { readonly tls: TLSSocket; readonly counter: object } | undefined;

  /** @param stream below; one that is no socket is not looked at */
  constructor(stream: Duplex, tls: TLSSocket) {
    const counter = counterOf(stream);
    this.#connection = { tls, counter };
    this.#taken = octetsRead(counter);
    watched.add(this);
    tls.once('close', () => this.#leave());
    if (!looking) look();
  }

  /** The handshake is over: what follows is all of this turn. */
  secured(): void {
    this.#handshake = false;
    this.#held = 0;
  }

  allow(most: number): void {
    this.#most = most;
    if (most === Number.POSITIVE_INFINITY) this.#leave();
  }

  look(): void {
    if (this.#connection === undefined) return;
    const { tls, counter } = this.#connection;
    const taken = octetsRead(counter);
    const now = taken - this.#taken;
    // Less, when it has been closed just now.
    if (now <= 0) return;
    this.#taken = taken;
    const given = octetsRead(tls) - this.#given;
    this.#given += given;
    this.#held += now - given;
    // What had been read before was of the record whose plaintext it has given now.
    if (given > 0) this.#held = Math.max(0, Math.min(this.#held, now));
    const waiting = this.#handshake ? 0 : tls.readableLength;
    if (this.#held + waiting <= this.#most) return;
    const { tooMuch } = this;
    this.#leave();
    tooMuch();
  }

  /** It is not looked at any more. An old table of the Set, which V8 may keep for long, leads to this, but no further. */
  #leave(): void {
    watched.delete(this);
    this.#connection = undefined;
    this.tooMuch = () => {};
  }
}

/** What counts the octets of a stream: of a socket its handle, which tells in a third of the time. */
function counterOf(stream: object): object {
  const handle: unknown = '_handle' in stream ? stream._handle : undefined;
  return typeof handle === 'object' && handle !== null && 'bytesRead' in handle ? handle : stream;
}

function octetsRead(counter: object): number {
  return 'bytesRead' in counter && typeof counter.bytesRead === 'number' ? counter.bytesRead : 0;
}

/**
 * Memory for the indexes of large mailboxes, handed on from session to session: new memory costs the system a page
 * at a time, and V8 a full collection each time that some 64 MiB of it have come and gone, which all sessions wait for.
 *
 * Invariant: nobody sees what another session's index says. Whoever gives memory back loses it, as the array buffer
 * that all views of it share is detached: each is empty from then on. Whoever takes some gets what was there before,
 * and tells by lengths, never by contents, how much of it is an index. Bounded, and gone when it rests.
 */

export interface IndexMemoryLimits {
  /** Octets of the smallest piece that is worth keeping. */
  readonly least: number;
  /** Octets kept at most: the default is enough for the indexes of four mailboxes of a gigabyte. */
  readonly most: number;
  /** How long they are kept when no session comes, milliseconds. */
  readonly keptFor: number;
}

const USUAL: IndexMemoryLimits = { least: 128 * 1024, most: 16 * 1024 * 1024, keptFor: 5000 };

/** No piece is given to whom so small a part of it will do. */
const WASTE = 8;

/** A piece is larger than asked for by this part, so that it is enough for the same mailbox when it has grown. */
const GROWTH = 8;

export class IndexMemory {
  /** Pieces, the one that was given back first first. */
  #free: ArrayBufferLike[] = [];
  #kept = 0;
  #timer: NodeJS.Timeout | undefined;

  readonly #limits: IndexMemoryLimits;

  constructor(limits: Partial<IndexMemoryLimits> = {}) {
    this.#limits = { ...USUAL, ...limits };
  }

  /** Octets kept for later. */
  get kept(): number {
    return this.#kept;
  }

  /**
   * @returns `size` octets at the start of an array buffer of the caller's own, which may be larger; they say anything
   */
  take(size: number): Buffer<ArrayBufferLike> {
    let best = -1;
    this.#free.forEach(({ byteLength }, i) => {
      const fits = byteLength >= size && byteLength <= size * WASTE;
      if (fits && (best < 0 || byteLength < this.#free[best]!.byteLength)) best = i;
    });
    const [piece] = best < 0 ? [] : this.#free.splice(best, 1);
    this.#kept -= piece?.byteLength ?? 0;
    return Buffer.from(piece ?? this.#make(size), 0, size);
  }

  /**
   * All views of the memory that these octets are in are empty from now on, also if it is not kept. Nothing may be reading
   * or writing it outside of JavaScript. A second time does nothing.
   */
  giveBack({ buffer }: Buffer<ArrayBufferLike>): void {
    const { least, most, keptFor } = this.#limits;
    if (buffer.byteLength < least || buffer.byteLength === 0) return;
    const piece = structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
    if (piece.byteLength > most) return;
    this.#free.push(piece);
    this.#kept += piece.byteLength;
    while (this.#kept > most) this.#kept -= this.#free.shift()!.byteLength;
    this.#timer ??= setTimeout(() => this.#drop(), keptFor).unref();
    this.#timer.refresh();
  }

  /** Not pooled by Node.js, and not written to: pages that nobody uses cost nothing. */
  #make(size: number): ArrayBufferLike {
    const roomy = size < this.#limits.least ? size : size + Math.ceil(size / GROWTH);
    return Buffer.allocUnsafeSlow(roomy).buffer;
  }

  #drop(): void {
    this.#timer = undefined;
    this.#free = [];
    this.#kept = 0;
  }
}

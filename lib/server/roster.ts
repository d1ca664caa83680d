/**
 * Those who are there now, in no order: for what comes and goes with each connection, in place of a Set. Of a Set that
 * many are added to and taken from V8 makes a new table again and again, and each old table leads to the next: one that
 * has lived long enough to leave the young generation keeps alive all later ones and who was in them when they were
 * replaced, whole sessions with their sockets, until all memory is collected.
 */
export class Roster<T extends object> implements Iterable<T> {
  readonly #places: (T | undefined)[] = [];
  readonly #free: number[] = [];

  /** @returns takes it out again; nothing happens when it is called once more */
  add(member: T): () => void {
    const place = this.#free.pop() ?? this.#places.length;
    this.#places[place] = member;
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      this.#places[place] = undefined;
      this.#free.push(place);
      if (this.#free.length < this.#places.length) return;
      // The room that a rush has taken is not kept for ever.
      this.#places.length = 0;
      this.#free.length = 0;
    };
  }

  /** Who comes or goes meanwhile may be met or not. */
  *[Symbol.iterator](): Iterator<T> {
    for (const member of this.#places) if (member !== undefined) yield member;
  }
}

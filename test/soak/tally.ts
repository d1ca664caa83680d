/** Counters of everything that happened, by name, and the longest of what was measured. */
export class Tally {
  readonly #counts = new Map<string, number>();
  readonly #times = new Map<string, number[]>();

  count(name: string, by = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }

  /** @param milliseconds how long it took */
  time(name: string, milliseconds: number): void {
    const times = this.#times.get(name);
    if (times) times.push(milliseconds);
    else this.#times.set(name, [milliseconds]);
  }

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  get lines(): string[] {
    return [...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, count]) => `${name}: ${count}`);
  }

  /** How many, the median and the longest, in seconds. */
  timesOf(name: string): { count: number; median: number; longest: number } {
    const times = [...(this.#times.get(name) ?? [])].sort((a, b) => a - b);
    const at = (share: number) => (times[Math.floor(share * (times.length - 1))] ?? 0) / 1000;
    return { count: times.length, median: at(0.5), longest: at(1) };
  }
}

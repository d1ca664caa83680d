/** The loops that the sweeps share, and what they count. */
import { availableParallelism } from 'node:os';

/** The K-th call of a kind, counted as strace(1) does: in one thread, each kind by itself. */
export interface Point {
  readonly call: string;
  readonly k: number;
}

/** The calls in a trace, in order. */
export function pointsOf(trace: string): Point[] {
  const counts = new Map<string, number>();
  return [...trace.matchAll(/^([a-z0-9]+)\(/gm)].map(([, call = '']) => {
    const k = (counts.get(call) ?? 0) + 1;
    counts.set(call, k);
    return { call, k };
  });
}

/** Does `work` for each item, as many at a time as there are processors. */
export async function inParallel<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items].values();
  const worker = async () => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

/** Counts states by how they ended, and keeps what was wrong. */
export class Tally {
  readonly violations: string[] = [];
  readonly #ends = new Map<string, number>();

  /** @param where tells how to get to this state again */
  add(end: string, where: string, complaints: readonly string[]): void {
    this.#ends.set(end, (this.#ends.get(end) ?? 0) + 1);
    for (const complaint of complaints) this.violations.push(`${where}: ${complaint}`);
  }

  get states(): number {
    return [...this.#ends.values()].reduce((sum, count) => sum + count, 0);
  }

  /** One line on standard output. */
  print(what: string): void {
    const ends = [...this.#ends].map(([end, count]) => `${count} ${end}`).join(', ');
    process.stdout.write(`${what}: ${this.states} states (${ends}), ${this.violations.length} violations\n`);
  }
}

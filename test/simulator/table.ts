/** What a suite has enumerated, as lines that can be read. */
import type { Tally } from './enumerate.js';

export class Table {
  #began = false;

  constructor(private readonly title: string) {}

  row(name: string, { states, recoveries, violations }: Tally): void {
    if (!this.#began) this.#print(this.title, 'states', 'recoveries', 'content', 'false alarms');
    this.#began = true;
    const content = (violations.get('content') ?? 0) + (violations.get('recovery failed') ?? 0);
    this.#print(name, states, recoveries, content, violations.get('false alarm') ?? 0);
  }

  #print(name: string, ...cells: (string | number)[]): void {
    const columns = cells.map(cell => cell.toLocaleString('en').padStart(14)).join('');
    console.log(`${name.padEnd(52)}${columns}`);
  }
}

/** All of them as one. */
export function sumOf(tallies: readonly Tally[]): Tally {
  const sum: Tally = { states: 0, recoveries: 0, violations: new Map(), examples: [] };
  for (const { states, recoveries, violations } of tallies) {
    sum.states += states;
    sum.recoveries += recoveries;
    for (const [kind, count] of violations) {
      sum.violations.set(kind, (sum.violations.get(kind) ?? 0) + count);
    }
  }
  return sum;
}

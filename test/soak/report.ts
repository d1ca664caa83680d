/** What the soak says in the end, and whether it holds: the ledger, the waits, memory, errors in the log. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Box } from './boxes.js';

/** Events of the log that must not be there, and what Node.js says of an error that nobody caught. */
const UNCAUGHT = /internal-error|release-failed|close-failed|unlock-failed|Uncaught|Unhandled|^node:internal/;

export interface LogSummary {
  readonly uncaught: string[];
  /** Events of our log, and how often each. */
  readonly events: Map<string, number>;
  /** Lines about updates that failed and journals that were not carried out. */
  readonly remarkable: string[];
}

/** Everything our servers have logged, to syslog or to files of their own. */
export function readLogs(root: string): LogSummary {
  const uncaught: string[] = [];
  const events = new Map<string, number>();
  const remarkable: string[] = [];
  for (const name of readdirSync(root).filter(file => file === 'syslog' || file.startsWith('log of '))) {
    for (const line of readFileSync(join(root, name), 'latin1').split('\n')) {
      if (UNCAUGHT.test(line)) uncaught.push(`${name}: ${line}`);
      const event = / (?:\S+) ((?:login|update|journal|dotlock|session|unlock|close|release)-[a-z-]+)/.exec(
        line,
      )?.[1];
      if (/ (update-failed|journal-set-aside|journal-kept) /.test(line)) remarkable.push(line);
      if (event !== undefined) events.set(event, (events.get(event) ?? 0) + 1);
    }
  }
  return { uncaught, events, remarkable };
}

/** A table with columns that line up. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => String(row[column]).length)));
  return rows
    .map(row =>
      row
        .map((cell, column) =>
          column === 0 ? String(cell).padEnd(widths[0]!) : String(cell).padStart(widths[column]!),
        )
        .join('  '),
    )
    .join('\n');
}

/** The ledger: for each mailbox, what came, what went, what is left, and the difference. */
export function ledgerTable(
  boxes: readonly Box[],
  left: ReadonlyMap<string, number>,
): { text: string; balance: number } {
  const ways = [...new Set(boxes.flatMap(({ ledger }) => [...ledger.deletedBy.keys()]))].sort();
  const rows: (string | number)[][] = [['mailbox', 'appended', ...ways, 'still there', 'difference']];
  const sums = new Array<number>(rows[0]!.length - 1).fill(0);
  for (const { user, ledger } of boxes) {
    const gone = ways.map(way => ledger.deletedBy.get(way) ?? 0);
    const there = left.get(user) ?? 0;
    const difference = ledger.deliveries - gone.reduce((sum, n) => sum + n, 0) - there;
    const numbers = [ledger.deliveries, ...gone, there, difference];
    for (const [i, n] of numbers.entries()) sums[i]! += i === numbers.length - 1 ? Math.abs(n) : n;
    rows.push([user, ...numbers]);
  }
  rows.push(['all', ...sums]);
  return { text: table(rows), balance: sums.at(-1)! };
}

/**
 * Mailboxes of other projects, where they are at hand (../shared/corpus beside the repository): each is
 * indexed and served, and counted as its manifest says. Where our count differs from that of another
 * reader, test/corpus-differences.json says why, and says nothing that is not so.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { assignUniqueIds } from '../../lib/mbox/ordinals.js';
import { NotMbox } from '../../lib/mbox/scanner.js';
import { oracle } from '../support/oracle.js';
import { extents, identity, scan, wire } from '../support/oracle-tools.js';

type Count = number | 'refused';
interface Difference {
  ours: Count;
  others: Record<string, Count>;
  why: string;
}

const corpus = new URL('../../../shared/corpus/', import.meta.url);
const manifest = new URL('MANIFEST.tsv', corpus);
const here = existsSync(manifest);
if (!here) console.warn(`\n*** SKIPPED: no corpus of mailboxes at ${corpus.pathname} ***\n`);

const differences = new Map<string, Difference>(
  Object.entries(JSON.parse(readFileSync(new URL('../corpus-differences.json', import.meta.url), 'utf8'))),
);

/** Our columns, and what the manifest calls them. */
const COLUMNS: [string, string][] = [
  ['dated', 'same + asctime-like date'],
  ['dovecot', 'dovecot'],
  ['mutt', 'mutt'],
  ['source test', 'expected by source test'],
];

function readManifest(): Map<string, string>[] {
  const [head, ...rows] = readFileSync(manifest, 'utf8').trimEnd().split('\n');
  const names = head!.split('\t');
  return rows
    .map(row => new Map(row.split('\t').map((cell, i) => [names[i]!, cell])))
    .filter(row => !row.get('file')!.endsWith('.json'));
}

/** What another reader says, or undefined when it says nothing. */
function countOf(column: string, cell: string): Count | undefined {
  const number = /^\d+/.exec(cell)?.[0];
  if (number !== undefined) return Number(number);
  return column === 'source test' ? undefined : 'refused';
}

function ourCount(file: Buffer): Count {
  try {
    return scan(file).messages;
  } catch (error) {
    if (error instanceof NotMbox) return 'refused';
    throw error;
  }
}

describe.skipIf(!here)('the corpus', () => {
  const rows = here ? readManifest() : [];
  const files = rows.map(row => row.get('file')!);

  test('the table of differences names files that are there', () => {
    expect([...differences.keys()].filter(name => !files.includes(name))).toEqual([]);
  });

  test.each(rows.map(row => [row.get('file')!, row] as const))('%s', (name, row) => {
    const file = readFileSync(new URL(name, corpus));
    expect(createHash('sha256').update(file).digest('hex')).toBe(row.get('sha256'));
    const ours = ourCount(file);
    const others: Record<string, Count> = {};
    for (const [column, title] of COLUMNS) {
      const count = countOf(column, row.get(title)!);
      if (count !== undefined && count !== ours) others[column] = count;
    }
    const { why = '', ...told } = differences.get(name) ?? {};
    expect(told).toEqual(Object.keys(others).length > 0 ? { ours, others } : {});
    if (ours === 'refused') return;
    checkServed(file);
  });
});

/** Octets and unique-ids of every message, and the wire form against the oracle's. */
function checkServed(file: Buffer): void {
  const index = scan(file);
  const expected = oracle(file);
  const messages = 'messages' in expected ? expected.messages : [];
  expect(extents(scan(file, [4093]))).toEqual(extents(index));
  expect(messages.length).toBe(index.messages);
  const wrong = extents(index).filter((e, i) => {
    const sent = wire(file, e, [1021]);
    return sent.length !== index.octets(i + 1) || sent.toString('latin1') !== messages[i]!.wire;
  });
  expect(wrong).toEqual([]);
  const ids = assignUniqueIds(
    extents(index).map(e => identity(file, e)),
    new Map(),
  );
  expect(new Set(ids).size).toBe(ids.length);
}

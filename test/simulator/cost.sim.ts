/** What UPDATE costs: system calls that wait for the disk, and octets written for octets moved. */
import { expect, test } from 'vitest';
import { redoAt } from '../../lib/maildrop/journal-format.js';
import { messageOf, without } from './mailboxes.js';
import type { Call } from './memory-disk.js';
import { update, worldWith } from './sessions.js';

const MESSAGES = Array.from({ length: 40 }, (_, i) => messageOf(`m${i + 1}`, 20_000 + 100 * i));
const FILE = without(MESSAGES, []);

async function costOf(deleted: readonly number[], journal?: Buffer): Promise<(name: string) => Call[]> {
  const calls: Call[] = [];
  const interfere = (call: Call) => {
    if (!call.path.startsWith('/run')) calls.push(call);
    return undefined;
  };
  const { error } = await update(worldWith(FILE, journal), deleted, { interfere });
  expect(error).toBe(undefined);
  return name => calls.filter(call => call.name === name);
}

test.each([
  ['a suffix', [39, 40]],
  ['everything', MESSAGES.map((_, i) => i + 1)],
])('%s: one ftruncate, one fsync, nothing written', async (_name, deleted) => {
  const calls = await costOf(deleted);
  expect([calls('truncate').length, calls('sync').length, calls('write').length]).toEqual([1, 1, 0]);
});

test.each([
  ['the first', [1]],
  ['every second', MESSAGES.map((_, i) => i + 1).filter(n => n % 2 === 1)],
  ['the last but one', [39]],
])('%s: four fsyncs, twice the octets moved', async (name, deleted) => {
  const calls = await costOf(deleted, Buffer.alloc(0));
  expect(calls('sync')).toHaveLength(4);
  const from = without(MESSAGES.slice(0, deleted[0]! - 1), []).length;
  const moved = without(MESSAGES, deleted).length - from;
  const written = calls('write').reduce((sum, { octets }) => sum + octets!.length, 0);
  // Header, phase twice, octets around the marker, a hash of each sector; the marker.
  const overhead = redoAt({ from, oldSize: FILE.length }) + 512 + 16;
  expect(written).toBeLessThanOrEqual(2 * moved + overhead);
  console.log(`deleting ${name}: ${moved} octets moved, ${written} written`);
});

test('the first time two more, for the names of the journal and of its directory', async () => {
  const calls = await costOf([1]);
  expect(calls('sync').map(({ path }) => path)).toEqual([
    '/state',
    '/state/alice/journal.new',
    '/state/alice',
    '/alice',
    '/state/alice/journal.new',
    '/alice',
  ]);
});

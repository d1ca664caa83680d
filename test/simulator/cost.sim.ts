/** What UPDATE costs: system calls that wait for the disk, and octets written for octets moved. */
import { expect, test } from 'vitest';
import { REDO_AT, SECTOR } from '../../lib/maildrop/journal-format.js';
import { messageOf, without } from './mailboxes.js';
import type { Call } from './memory-disk.js';
import { JOURNAL, MAILBOX, PLAN, type RunOptions, STATE, update, worldWith } from './sessions.js';

const MESSAGES = Array.from({ length: 40 }, (_, i) => messageOf(`m${i + 1}`, 20_000 + 100 * i));
const FILE = without(MESSAGES, []);

type Calls = (name: string) => Call[];

/** What DELE and what UPDATE cost. */
async function costsOf(
  deleted: readonly number[],
  journal: Buffer | undefined,
  options: RunOptions = {},
): Promise<{ readonly dele: Calls; readonly update: Calls }> {
  const calls: Call[][] = [[], []];
  let now = 0;
  const interfere = (call: Call) => {
    calls[now]!.push(call);
    return options.interfere?.(call);
  };
  const beforeUpdate = () => {
    now = 1;
  };
  const start = worldWith(FILE, journal);
  const { error } = await update(start, deleted, { ...options, interfere, beforeUpdate });
  expect(error).toBe(undefined);
  const [dele, quit] = calls.map(list => (name: string) => list.filter(call => call.name === name));
  return { dele: dele!, update: quit! };
}

const pathsOf = (calls: readonly Call[]) => calls.map(({ path }) => path);
const EMPTY = Buffer.alloc(0);

test.each([
  ['a suffix', [39, 40]],
  ['everything', MESSAGES.map((_, i) => i + 1)],
])('%s: one ftruncate, one fsync, nothing written', async (_name, deleted) => {
  const { update: calls } = await costsOf(deleted, undefined);
  expect([calls('truncate').length, calls('sync').length, calls('write').length]).toEqual([1, 1, 0]);
});

test.each([
  ['the first', [1]],
  ['every second', MESSAGES.map((_, i) => i + 1).filter(n => n % 2 === 1)],
  ['the last but one', [39]],
])('%s: four fsyncs, twice the octets moved', async (name, deleted) => {
  const { dele, update: calls } = await costsOf(deleted, EMPTY);
  expect(dele('sync')).toHaveLength(0);
  expect(calls('sync')).toHaveLength(4);
  const from = without(MESSAGES.slice(0, deleted[0]! - 1), []).length;
  const moved = without(MESSAGES, deleted).length - from;
  const written = calls('write').reduce((sum, { octets }) => sum + octets!.length, 0);
  const gone = FILE.length - from - moved;
  // Header, phase twice, octets around the marker; two octets for each length and eight for each sector
  // that goes, wholly or in part; the marker.
  const sectors = gone / SECTOR + 2 * deleted.length;
  const overhead = REDO_AT + SECTOR + 6 * deleted.length + 8 * sectors + 16;
  expect(written).toBeLessThanOrEqual(2 * moved + overhead);
  console.log(`deleting ${name}: ${moved} octets moved, ${written} written`);
});

const FOUR = [JOURNAL, MAILBOX, JOURNAL, MAILBOX];

test('the first time as well: the first session of a mailbox has made the journals', async () => {
  const { dele, update: calls } = await costsOf([1, 3, 5], undefined);
  expect(pathsOf(calls('sync'))).toEqual(FOUR);
  // Once, whatever the number of messages.
  expect(pathsOf(dele('sync'))).toEqual(['/state', PLAN, '/state', `${JOURNAL}.new`, STATE]);
  const again = await costsOf([1, 3, 5], EMPTY);
  expect(again.dele('sync')).toEqual([]);
});

test('one more where no journal could be made before: for its name', async () => {
  let isUpdate = false;
  const calls: string[] = [];
  const { error } = await update(worldWith(FILE), [1], {
    interfere: ({ name, path }) => {
      if (isUpdate && name === 'sync') calls.push(path);
      return !isUpdate && name === 'write' && path === `${JOURNAL}.new` ? { error: 'ENOSPC' } : undefined;
    },
    beforeUpdate: () => {
      isUpdate = true;
    },
  });
  expect(error).toBe(undefined);
  expect(calls).toEqual([`${JOURNAL}.new`, STATE, MAILBOX, JOURNAL, MAILBOX]);
});

test('on a full disk: by a plan, and two fsyncs for each step of it', async () => {
  const { update: calls } = await costsOf([20], EMPTY, { full: true });
  const from = without(MESSAGES.slice(0, 19), []).length;
  const moved = FILE.length - from - MESSAGES[19]!.length;
  const steps = Math.ceil(moved / MESSAGES[19]!.length);
  const syncs = calls('sync').length;
  console.log(`by a plan: ${moved} octets moved in ${steps} steps, ${syncs} fsyncs`);
  // Before the first: the journal dropped, its directory, the plan wiped, written and committed.
  expect(syncs).toBeLessThanOrEqual(2 * (steps + 3) + 8);
  const written = calls('write').reduce(
    (sum, { path, octets }) => sum + (path === MAILBOX ? octets!.length : 0),
    0,
  );
  // The probe, what is moved, and what the cut may clear.
  expect(written).toBeLessThanOrEqual(1 + moved + 64 * 1024);
});

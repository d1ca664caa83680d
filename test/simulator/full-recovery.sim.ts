/**
 * An UPDATE that had room for its journal is interrupted, and deliveries fill the disk before the recovery:
 * what they brought is moved down by a plan then, and nothing is lost, doubled or torn.
 */
import { afterAll, expect, test } from 'vitest';
import { crashPointsOf, Enumeration, LIMITS, newTally, type Tally } from './enumerate.js';
import { DELIVERIES, MAILBOXES, without } from './mailboxes.js';
import { delivered, fileAt, JOURNAL, MAILBOX, PLAN, recovery, update, worldWith } from './sessions.js';
import { sumOf, Table } from './table.js';

const table = new Table('UPDATE, crash, recovery on a full disk, crash, recovery');
const tallies: Tally[] = [];

test.each([
  { ...MAILBOXES[0]!, sets: [[1], [2], [1, 2]] },
  { ...MAILBOXES[1]!, sets: [[1], [2]] },
  { ...MAILBOXES[2]!, sets: [[1], [1, 2]] },
  { ...MAILBOXES[3]!, sets: [[1], [2, 3]] },
])('$name', async ({ name, messages, sets }) => {
  const old = without(messages, []);
  const tally = newTally();
  for (const deleted of sets) {
    const fresh = without(messages, deleted);
    const start = worldWith(old, Buffer.alloc(0));
    const { points, run } = await crashPointsOf(start, {}, options => update(start, deleted, options));
    expect(run.error).toBe(undefined);
    const enumeration = new Enumeration(tally, LIMITS, { full: true });
    await enumeration.crashes(points, [old, fresh]);
    await enumeration.crashes(points.slice(-1), [fresh]);
  }
  table.row(name, tally);
  tallies.push(tally);
  expect(tally.examples).toEqual([]);
});

afterAll(() => table.row('sum', sumOf(tallies)));

test('by the plan, and no file is longer than before', async () => {
  const { messages } = MAILBOXES[3]!;
  const start = worldWith(without(messages, []), Buffer.alloc(0));
  const { points } = await crashPointsOf(start, {}, options => update(start, [1], options));
  const cut = points.findIndex(({ after }) => after.startsWith(`truncate ${MAILBOX}`));
  const crashed = delivered(points[cut - 1]!.world, DELIVERIES[2]!);
  const calls: string[] = [];
  const { world, result } = await recovery(crashed, {
    full: true,
    onChange: (_world, { name, path }) => calls.push(`${name} ${path}`),
  });
  expect(result).toEqual({ did: 'finished' });
  expect(calls).toContain(`write ${PLAN}`);
  expect(fileAt(world, MAILBOX)!.now).toEqual(Buffer.concat([without(messages, [1]), DELIVERIES[2]!]));
  expect(fileAt(world, JOURNAL)!.now).toHaveLength(0);
  expect(fileAt(world, PLAN)!.now.length).toBe(fileAt(crashed, PLAN)!.now.length);
});

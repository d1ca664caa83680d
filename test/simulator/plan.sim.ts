/**
 * The same on a disk without a free block, where an UPDATE goes by its plan: nothing lost, doubled or torn,
 * and not an octet more on the disk than there was.
 */
import { afterAll, expect, test } from 'vitest';
import { crashPointsOf, DEEP, Enumeration, LIMITS, newTally, type Tally } from './enumerate.js';
import { deletionSets, MAILBOXES, type Mailbox, without } from './mailboxes.js';
import { fileAt, JOURNAL, MAILBOX, PLAN, update, worldWith } from './sessions.js';
import { sumOf, Table } from './table.js';
import type { World } from './world.js';

const table = new Table('mailbox, then UPDATE by a plan, crash, recovery, crash, recovery');
const tallies: Tally[] = [];

/** What needs no journal at all is enumerated elsewhere; of larger mailboxes not every set, unless there is time. */
function setsFor({ messages }: Mailbox): number[][] {
  const old = without(messages, []);
  const sets = messages.length > 3 && !DEEP ? [[1], [2], [1, 2], [1, 3]] : deletionSets(messages.length);
  return sets.filter(deleted => {
    const fresh = without(messages, deleted);
    return !old.subarray(0, fresh.length).equals(fresh);
  });
}

function octetsOf(world: World): number {
  const files = [MAILBOX, JOURNAL, PLAN].map(path => fileAt(world, path));
  return files.reduce((sum, file) => sum + (file?.now.length ?? 0), 0);
}

test.each(MAILBOXES)('$name', async mailbox => {
  const old = without(mailbox.messages, []);
  const tally = newTally();
  for (const deleted of setsFor(mailbox)) {
    const fresh = without(mailbox.messages, deleted);
    const start = worldWith(old, Buffer.alloc(0));
    const { points, run } = await crashPointsOf(start, { full: true }, options =>
      update(start, deleted, options),
    );
    expect(run.error).toBe(undefined);
    for (const { world } of points) expect(octetsOf(world)).toBeLessThanOrEqual(octetsOf(start));
    const enumeration = new Enumeration(tally, LIMITS, { full: true });
    await enumeration.crashes(points, [old, fresh]);
    // The client was told +OK.
    await enumeration.crashes(points.slice(-1), [fresh]);
  }
  table.row(mailbox.name, tally);
  tallies.push(tally);
  expect(tally.examples).toEqual([]);
});

afterAll(() => table.row('sum', sumOf(tallies)));

test('at least a million states', () => {
  expect(sumOf(tallies).states).toBeGreaterThan(1_000_000);
});

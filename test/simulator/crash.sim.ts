/** UPDATE interrupted, recovery interrupted, mail coming between: nothing lost, doubled or torn. */
import { afterAll, expect, test } from 'vitest';
import { crashPointsOf, DEEP, Enumeration, LIMITS, newTally, type Tally } from './enumerate.js';
import { deletionSets, MAILBOXES, type Mailbox, without } from './mailboxes.js';
import { update, worldWith } from './sessions.js';
import { sumOf, Table } from './table.js';

const table = new Table('mailbox, then UPDATE, crash, recovery, crash, recovery');
const tallies: Tally[] = [];

/** Of the largest mailbox not every set of deletions, unless there is time. */
function setsFor({ messages }: Mailbox): number[][] {
  if (messages.length === 5 && !DEEP) return [[2], [1, 3, 5]];
  return deletionSets(messages.length);
}

test.each(MAILBOXES)('$name', async mailbox => {
  const old = Buffer.concat(mailbox.messages);
  const tally = newTally();
  for (const deleted of setsFor(mailbox)) {
    const fresh = without(mailbox.messages, deleted);
    // Every other set in a mailbox that had an UPDATE before, so that its journal file is there.
    const start = worldWith(old, deleted.length % 2 === 1 ? undefined : Buffer.alloc(0));
    const { points, run } = await crashPointsOf(start, {}, options => update(start, deleted, options));
    expect(run.error).toBe(undefined);
    const enumeration = new Enumeration(tally, LIMITS);
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

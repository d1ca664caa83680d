/** UPDATE interrupted, recovery interrupted, mail coming between: nothing lost, doubled or torn. */
import { afterAll, expect, test } from 'vitest';
import { crashPointsOf, DEEP, Enumeration, LIMITS, newTally, type Tally } from './enumerate.js';
import { DELIVERIES, deletionSets, MAILBOXES, type Mailbox, randomFrom, without } from './mailboxes.js';
import { delivered, mailboxOf, recovery, update, worldWith } from './sessions.js';
import { sumOf, Table } from './table.js';
import { powerCuts } from './world.js';

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
    // Without a journal nothing can tell such a block from mail: see the last test.
    const isSuffix = old.subarray(0, fresh.length).equals(fresh);
    const { points, run } = await crashPointsOf(start, { clearsBlocks: !isSuffix }, options =>
      update(start, deleted, options),
    );
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

/**
 * A limit of a cut without a journal: a power cut inside its fsync may leave the old size and NULs from the
 * new end to the end of the block. What was kept is as it was; what was deleted is partly back.
 */
test('a suffix half cut: every kept octet is where it was, and deliveries after it', async () => {
  const { messages } = MAILBOXES[2]!;
  const [old, fresh] = [without(messages, []), without(messages, [3])];
  const { points } = await crashPointsOf(worldWith(old), {}, options => update(worldWith(old), [3], options));
  let halves = 0;
  for (const { world } of points) {
    for (const cut of powerCuts(world, { full: 1024, sample: 64 }, randomFrom(1))) {
      const content = mailboxOf((await recovery(delivered(cut, DELIVERIES[1]!))).world)!;
      const end = content.length - DELIVERIES[1]!.length;
      expect(content.subarray(0, fresh.length).equals(fresh)).toBe(true);
      expect(content.subarray(end).equals(DELIVERIES[1]!)).toBe(true);
      const rest = content.subarray(fresh.length, end);
      expect(rest.every((octet, i) => octet === 0 || octet === old[fresh.length + i])).toBe(true);
      if (rest.includes(0)) halves++;
    }
  }
  expect(halves).toBeGreaterThan(0);
});

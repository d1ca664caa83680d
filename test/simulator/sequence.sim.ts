/**
 * Sessions one after another on what a crash has left: the second one builds on names and octets that may
 * not be durable yet. And the unique-ids of equal messages, which must survive every crash (promise P6).
 */
import { expect, test } from 'vitest';
import { crashPointsOf, DEEP, Enumeration, FEW, newTally } from './enumerate.js';
import { DELIVERIES, MAILBOXES, randomFrom, TWINS, without } from './mailboxes.js';
import { delivered, mailboxOf, recovery, uniqueIds, update, worldWith } from './sessions.js';
import { Table } from './table.js';
import { powerCuts } from './world.js';

const table = new Table('UPDATE, crash, UPDATE, crash, recovery, crash, recovery');
const { messages } = MAILBOXES[2]!;
const MAIL = DELIVERIES.slice(0, 2);

test.each([
  ['a suffix', [3]],
  ['the first', [1]],
])('%s deleted, then the first of the rest', async (name, deleted) => {
  const [old, fresh] = [without(messages, []), without(messages, deleted)];
  const isSuffix = old.subarray(0, fresh.length).equals(fresh);
  const tally = newTally();
  const random = randomFrom(3);
  const start = worldWith(old);
  const { points } = await crashPointsOf(start, { clearsBlocks: !isSuffix }, one =>
    update(start, deleted, one),
  );
  for (const [p, point] of points.entries()) {
    const isLast = p === points.length - 1;
    if (point.torn || !(DEEP || isLast || p % 3 === 0)) continue;
    const cuts = [...powerCuts(point.world, { full: 4, sample: 4 }, random)].slice(0, DEEP ? 20 : 3);
    for (const world of [point.world, ...cuts]) {
      // What the second session sees.
      const seen = mailboxOf((await recovery(world)).world)!;
      const first = seen.equals(fresh) ? messages.findIndex((_, i) => !deleted.includes(i + 1)) : 0;
      const then = seen.subarray(messages[first]!.length);
      const second = await crashPointsOf(world, {}, one => update(world, [1], one));
      expect(second.run.error).toBe(undefined);
      const enumeration = new Enumeration(tally, FEW, {}, MAIL);
      // A cut that was not yet durable when its session was killed may be undone under the next one.
      const undone = isSuffix ? [old.subarray(messages[0]!.length)] : [];
      const before = isLast ? [fresh] : [old, fresh, ...undone];
      await enumeration.crashes(second.points, [...before, then]);
      await enumeration.crashes(second.points.slice(-1), [then]);
    }
  }
  table.row(`${name}, then the first of the rest`, tally);
  expect(tally.examples).toEqual([]);
});

async function expectStableIds(deleted: readonly number[]): Promise<void> {
  const old = without(TWINS.messages, []);
  const fresh = without(TWINS.messages, deleted);
  const all = (await uniqueIds(worldWith(old))).result!;
  expect(new Set(all).size).toBe(4);
  const stay = all.filter((_, i) => !deleted.includes(i + 1));
  const random = randomFrom(4);
  const { points } = await crashPointsOf(worldWith(old), { clearsBlocks: deleted[0] !== 4 }, one =>
    update(worldWith(old), deleted, one),
  );
  for (const point of points) {
    const cuts = point.torn ? [] : powerCuts(point.world, { full: 256, sample: 128 }, random);
    for (const world of [point.world, ...cuts]) {
      const { result, world: after } = await uniqueIds(world);
      const isNew = mailboxOf(after)!.equals(fresh);
      expect(result, point.after).toEqual(isNew ? stay : all);
    }
  }
}

test.each([[[1]], [[4]], [[1, 3]], [[1, 2]]])('unique-ids of equal messages, %j deleted', expectStableIds);

test('a delivery between two crashes stays, whichever session it meets', async () => {
  const [old, fresh] = [without(messages, []), without(messages, [2])];
  const mail = DELIVERIES[2]!;
  const { points } = await crashPointsOf(worldWith(old), {}, one => update(worldWith(old), [2], one));
  for (const { world } of points) {
    const { result, world: after } = await uniqueIds(delivered(world, mail));
    const content = mailboxOf(after)!;
    expect(content.subarray(-mail.length).equals(mail)).toBe(true);
    expect(result).toHaveLength(content.length === fresh.length + mail.length ? 3 : 4);
  }
});

/** The proof can fail: with any step left out there are violations, and with none left out there are none. */
import { expect, test } from 'vitest';
import { ABLATIONS } from './ablations.js';
import { crashPointsOf, DEEP, Enumeration, FEW, newTally } from './enumerate.js';
import { MAILBOXES, without } from './mailboxes.js';
import { update, worldWith } from './sessions.js';
import { Table } from './table.js';

const { messages } = MAILBOXES[2]!;
const table = new Table('without');

test.each(ABLATIONS)('without $name', async ({ name, later, options, harmless }) => {
  const old = Buffer.concat(messages);
  const deleted = [1];
  const fresh = without(messages, deleted);
  const tally = newTally();
  const start = worldWith(old, later ? Buffer.alloc(0) : undefined);
  const { points, run } = await crashPointsOf(start, options, one => update(start, deleted, one));
  expect(run.error).toBe(undefined);
  const enumeration = new Enumeration(tally, FEW, options);
  for (const point of points) {
    await enumeration.crashes([point], [old, fresh]);
    // Enough to know that the step is needed; how often, a night tells.
    if (!DEEP && tally.violations.has('content')) break;
  }
  await enumeration.crashes(points.slice(-1), [fresh]);
  table.row(name, tally);
  if (harmless) expect(tally.examples).toEqual([]);
  else expect(tally.violations.get('content') ?? 0).toBeGreaterThan(0);
});

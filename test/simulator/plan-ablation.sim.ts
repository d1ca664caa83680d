/** The proof of the plan can fail, too: no step of it is there without need. */
import { expect, test } from 'vitest';
import { crashPointsOf, DEEP, Enumeration, FEW, newTally } from './enumerate.js';
import { PLAN_ABLATIONS } from './plan-ablations.js';
import { update } from './sessions.js';
import { Table } from './table.js';

const table = new Table('an UPDATE by a plan without');

test.each(PLAN_ABLATIONS)('without $name', async ablation => {
  const { name, scene, shows, deliveries } = ablation;
  const { start, deleted, old, fresh } = await scene();
  const tally = newTally();
  const session = { full: true, ...ablation.update };
  const { points, run } = await crashPointsOf(start, session, one => update(start, deleted, one));
  expect(run.error).toBe(undefined);
  const enumeration = new Enumeration(tally, FEW, { full: true, ...ablation.recovery }, deliveries);
  for (const point of points) {
    await enumeration.crashes([point], [old, fresh]);
    // Enough to know that the step is needed; how often, a night tells.
    if (!DEEP && shows !== 'nothing' && tally.violations.has(shows)) break;
  }
  await enumeration.crashes(points.slice(-1), [fresh]);
  table.row(name, tally);
  if (shows === 'nothing') expect(tally.examples).toEqual([]);
  else expect(tally.violations.get(shows) ?? 0).toBeGreaterThan(0);
});

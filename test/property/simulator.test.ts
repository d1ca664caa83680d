/** A small part of test/simulator: the whole takes minutes (`npm run test:simulator`). */
import { expect, test, vi } from 'vitest';
import { ABLATIONS } from '../simulator/ablations.js';
import { crashPointsOf, Enumeration, newTally, type Tally } from '../simulator/enumerate.js';
import { MAILBOXES, without } from '../simulator/mailboxes.js';
import { type RunOptions, update, worldWith } from '../simulator/sessions.js';

vi.mock('node:crypto', async original => {
  const { nextNonce } = await import('../simulator/nonces.js');
  return { ...(await original<typeof import('node:crypto')>()), randomBytes: nextNonce };
});

const LIMITS = { first: { full: 64, sample: 32 }, second: { full: 8, sample: 8 } };
const { messages } = MAILBOXES[0]!;

async function enumerated(deleted: number[], later: boolean, options: RunOptions = {}): Promise<Tally> {
  const tally = newTally();
  const [old, fresh] = [without(messages, []), without(messages, deleted)];
  const start = worldWith(old, later ? Buffer.alloc(0) : undefined);
  // Without a journal nothing can tell a block that a cut cleared from mail: see crash.sim.ts.
  const clearsBlocks = !old.subarray(0, fresh.length).equals(fresh);
  const { points } = await crashPointsOf(start, { clearsBlocks, ...options }, one =>
    update(start, deleted, one),
  );
  const enumeration = new Enumeration(tally, LIMITS, options);
  await enumeration.crashes(points, [old, fresh]);
  await enumeration.crashes(points.slice(-1), [fresh]);
  return tally;
}

test.each([
  [[1], false, 10_000],
  [[2], true, 10_000],
  // Cut off, without a journal: few steps.
  [[2, 3], true, 300],
])('deleting %s: no crash of UPDATE or recovery loses or doubles mail', async (deleted, later, least) => {
  const { examples, states } = await enumerated(deleted, later);
  expect(examples).toEqual([]);
  expect(states).toBeGreaterThan(least);
});

test.each(['fsync of the mailbox after the cut', 'marker', 're-journalling of appended mail'])(
  'without %s it does',
  async name => {
    const { options, later } = ABLATIONS.find(ablation => ablation.name === name)!;
    const { violations } = await enumerated([2], later, options);
    expect(violations.get('content') ?? 0).toBeGreaterThan(0);
  },
);

/**
 * SIGKILL at each system call of a session that changes a disk, from its opening to the release of its
 * locks: for every shape of deletion, with mail delivered before UPDATE or after the crash.
 */
import { expect, test } from 'vitest';
import { FULL } from './built.js';
import { runSession } from './child.js';
import { allowed, recoverAndJudge } from './recovered.js';
import { DELETIONS, LONG_DELIVERY, Scratch, SHORT_DELIVERY, without } from './scratch.js';
import { inParallel, type Point, pointsOf, Tally } from './sweep.js';

/** Calls that change a file or a directory. `write` is apart: libuv's threads wake each other by it, too. */
const CHANGES = 'pwrite64,ftruncate,fsync,rename,unlink,link,mkdir,utimensat';

interface Delivery {
  readonly when: 'never' | 'before UPDATE' | 'after the crash';
  readonly octets: string;
}

const DELIVERIES: readonly Delivery[] = [
  { when: 'never', octets: '' },
  { when: 'before UPDATE', octets: SHORT_DELIVERY },
  { when: 'before UPDATE', octets: LONG_DELIVERY },
  { when: 'after the crash', octets: SHORT_DELIVERY },
  { when: 'after the crash', octets: LONG_DELIVERY },
];

interface Case {
  readonly marks: readonly number[];
  readonly delivery: Delivery;
  /** Where to kill, or where not to: then the trace tells what points there are. */
  readonly at?: Point;
  readonly calls: string;
}

test.each([
  { calls: CHANGES, deliveries: DELIVERIES },
  { calls: 'write', deliveries: FULL ? DELIVERIES : DELIVERIES.slice(0, 1) },
])('SIGKILL at each $calls: all is deleted or nothing, and nothing else', async ({ calls, deliveries }) => {
  const sum = new Tally();
  const combinations = [...DELETIONS].flatMap(deletion =>
    deliveries.map(delivery => ({ deletion, delivery })),
  );
  await inParallel(combinations, async ({ deletion: [name, marks], delivery }) => {
    const scratch = new Scratch();
    const run = async (at?: Point) => {
      const { outcome, image, complaints } = await crash(scratch, {
        marks,
        delivery,
        calls,
        ...(at && { at }),
      });
      const point = at === undefined ? 'not killed' : `killed at ${at.call} ${at.k}`;
      const end = `${outcome.said === 'ok' ? 'told ok, ' : ''}${image}`;
      sum.add(
        end,
        `${point}, ${name} deleted, ${delivery.octets.length} octets ${delivery.when}`,
        complaints,
      );
      return outcome;
    };
    try {
      for (const point of pointsOf((await run()).trace)) await run(point);
    } finally {
      scratch.remove();
    }
  });
  sum.print(`SIGKILL at each ${calls}`);
  expect(sum.violations).toEqual([]);
});

/** One session from a fresh mailbox to its death, the delivery, recovery, and the verdict. */
async function crash(scratch: Scratch, { marks, delivery: { when, octets }, at, calls }: Case) {
  scratch.reset();
  let delivered = false;
  const deliver = () => {
    if (!delivered) scratch.deliver(octets);
    delivered = true;
  };
  const kill = at === undefined ? [] : [`inject=${at.call}:signal=KILL:when=${at.k}`];
  const outcome = await runSession(scratch, {
    marks,
    strace: [`trace=${calls}`, ...kill],
    beforeUpdate: when === 'before UPDATE' ? deliver : undefined,
  });
  deliver();
  const { said, text, killed } = outcome;
  const { image, complaints } = await recoverAndJudge(scratch, allowed(without(marks), octets), said);
  // Threads that are awake already are not woken, so the last few of `write` may not come.
  if (at !== undefined && !killed && at.call !== 'write') complaints.push('not killed');
  if (!killed && said !== 'ok') complaints.push(`not killed, and yet: ${text}`);
  return { outcome, image, complaints };
}

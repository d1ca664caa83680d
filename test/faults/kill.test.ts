/**
 * SIGKILL at each system call of a session that changes a disk, from its opening to the release of its
 * locks: for every shape of deletion, with mail delivered before UPDATE or after the crash.
 */
import { expect, test } from 'vitest';
import { FULL } from './built.js';
import { runSession } from './child.js';
import { allowed, recoverAndJudge, unguarded } from './recovered.js';
import { DELETIONS, LONG_DELIVERY, Scratch, SHORT_DELIVERY, without } from './scratch.js';
import { inParallel, type Point, pointsOf, Tally } from './sweep.js';
import { NO_TRACER } from './traced.js';

/** Calls that change a file or a directory. `write` is apart: libuv's threads wake each other by it, too. */
const CHANGES = 'pwrite64,ftruncate,fsync,rename,unlink,link,mkdir,utimensat';

interface Delivery {
  readonly when: 'never' | 'before UPDATE' | 'after the crash';
  readonly octets: string;
  /** Whether there has been an UPDATE before, whose journal is used again. */
  readonly journal: boolean;
}

const DELIVERIES: readonly Delivery[] = [
  { when: 'never', octets: '', journal: false } as const,
  { when: 'before UPDATE', octets: SHORT_DELIVERY, journal: true } as const,
  { when: 'before UPDATE', octets: LONG_DELIVERY, journal: false } as const,
  { when: 'after the crash', octets: SHORT_DELIVERY, journal: false } as const,
  { when: 'after the crash', octets: LONG_DELIVERY, journal: true } as const,
].flatMap(delivery => (FULL ? [delivery, { ...delivery, journal: !delivery.journal }] : [delivery]));

interface Case {
  readonly marks: readonly number[];
  readonly delivery: Delivery;
  /** Where to kill, or where not to: then the trace tells what points there are. */
  readonly at?: Point;
  readonly calls: string;
  readonly thread: 'io' | 'main';
}

interface Sweep {
  readonly calls: string;
  readonly thread: 'io' | 'main';
  readonly shapes: readonly string[];
  readonly deliveries: readonly Delivery[];
}

const ALL = [...DELETIONS.keys()];
const SOME = FULL ? ALL : ['first', 'all', 'alternate'];
const SWEEPS: readonly Sweep[] = [
  { calls: CHANGES, thread: 'io', shapes: ALL, deliveries: DELIVERIES },
  { calls: 'write', thread: 'io', shapes: SOME, deliveries: FULL ? DELIVERIES : DELIVERIES.slice(0, 1) },
  // The dotlock, made, changed and removed.
  {
    calls: 'write,link,unlink,rename,pwrite64,ftruncate',
    thread: 'main',
    shapes: SOME,
    deliveries: FULL ? DELIVERIES : DELIVERIES.slice(-1),
  },
];

test.skipIf(NO_TRACER).each(SWEEPS)(
  'SIGKILL at each $calls of the $thread thread: all is deleted or nothing',
  async sweep => {
    const { calls, thread, shapes, deliveries } = sweep;
    const sum = new Tally();
    const combinations = shapes.flatMap(name => deliveries.map(delivery => ({ name, delivery })));
    await inParallel(combinations, async ({ name, delivery }) => {
      const marks = DELETIONS.get(name) ?? [];
      const scratch = new Scratch();
      const run = async (at?: Point) => {
        const { outcome, image, complaints } = await crash(scratch, {
          marks,
          delivery,
          calls,
          thread,
          ...(at && { at }),
        });
        const point = at === undefined ? 'not killed' : `killed at ${at.call} ${at.k}`;
        const end = `${outcome.said === 'ok' ? 'told ok, ' : ''}${image}`;
        sum.add(
          end,
          `${point}, ${name} deleted, ${delivery.octets.length} octets ${delivery.when}, ${delivery.journal ? 'a' : 'no'} journal before`,
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
    sum.print(`SIGKILL at each ${calls} of the ${thread} thread`);
    expect(sum.violations).toEqual([]);
  },
);

/** One session from a fresh mailbox to its death, the delivery, recovery, and the verdict. */
async function crash(
  scratch: Scratch,
  { marks, delivery: { when, octets, journal }, at, calls, thread }: Case,
) {
  scratch.reset(journal);
  let delivered = false;
  const deliver = () => {
    if (!delivered) scratch.deliver(octets);
    delivered = true;
  };
  const kill = at === undefined ? [] : [`inject=${at.call}:signal=KILL:when=${at.k}`];
  const outcome = await runSession(scratch, {
    marks,
    strace: [`trace=${calls}`, ...kill],
    thread,
    beforeUpdate: when === 'before UPDATE' ? deliver : undefined,
  });
  const found = unguarded(scratch, allowed(without(marks), delivered ? octets : ''));
  deliver();
  const { said, text, killed } = outcome;
  const { image, complaints } = await recoverAndJudge(scratch, allowed(without(marks), octets), said);
  complaints.push(...found);
  // Threads that are awake already are not woken, so the last few of `write` may not come.
  if (at !== undefined && !killed && at.call !== 'write') complaints.push('not killed');
  if (!killed && said !== 'ok') complaints.push(`not killed, and yet: ${text}`);
  return { outcome, image, complaints };
}

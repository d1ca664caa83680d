/**
 * SIGKILL within recovery, after a SIGKILL within UPDATE, and within the recovery after that: recovery does
 * the same again wherever it is cut, with mail delivered after each crash.
 */
import { expect, test } from 'vitest';
import { FULL } from './built.js';
import { runSession } from './child.js';
import { allowed, recoverAndJudge, unguarded } from './recovered.js';
import { DELETIONS, LONG_DELIVERY, Scratch, SHORT_DELIVERY, without } from './scratch.js';
import { inParallel, type Point, pointsOf, Tally } from './sweep.js';
import { NO_TRACER } from './traced.js';

const CALLS = 'pwrite64,ftruncate,fsync,rename,unlink,link,mkdir,utimensat';

/** What is delivered after the first crash, the second, ... */
const DELIVERIES: ReadonlyMap<string, readonly string[]> = new Map([
  ['nothing', []],
  ['long, then short', [LONG_DELIVERY, SHORT_DELIVERY, SHORT_DELIVERY]],
  ['short, then long', [SHORT_DELIVERY, LONG_DELIVERY, SHORT_DELIVERY]],
]);

interface Path {
  readonly marks: readonly number[];
  readonly deliveries: readonly string[];
  readonly sum: Tally;
  /** Which of the points at a level are tried. */
  readonly choose: (points: readonly Point[], level: number) => readonly Point[];
}

/** Every n-th, the last one included. */
const everyNth = (n: number) => (points: readonly Point[]) =>
  points.filter((_, i) => (points.length - 1 - i) % n === 0);

const SHAPES = FULL ? ['first', 'middle', 'alternate', 'all but one'] : ['alternate'];
const LEVELS = [everyNth(FULL ? 1 : 4), everyNth(FULL ? 1 : 3), everyNth(FULL ? 3 : 9)];

test.skipIf(NO_TRACER)('SIGKILL within recovery, three deep: it is all done or not begun', async () => {
  const sum = new Tally();
  const paths = SHAPES.flatMap(name =>
    [...DELIVERIES].map(([what, deliveries]) => ({ name, what, deliveries })),
  );
  await inParallel(paths, async ({ name, what, deliveries }) => {
    const scratch = new Scratch();
    // Otherwise the first journal of this mailbox is made.
    scratch.reset(what === 'nothing');
    const marks = DELETIONS.get(name) ?? [];
    const choose: Path['choose'] = (points, level) => LEVELS[level]?.(points) ?? [];
    try {
      await descend(scratch, { marks, deliveries, sum, choose }, `${name} deleted, ${what} delivered`, 0);
    } finally {
      scratch.remove();
    }
  });
  sum.print('SIGKILL within recovery');
  expect(sum.violations).toEqual([]);
});

/** Goes on from what is on the disk now, in every chosen way, and comes back to it. */
async function descend(scratch: Scratch, path: Path, where: string, level: number): Promise<void> {
  const start = scratch.image();
  const session = { marks: level === 0 ? path.marks : [] };
  const { trace, said, text } = await runSession(scratch, { ...session, strace: [`trace=${CALLS}`] });
  await judge(scratch, path, where, level, said === 'ok' ? [] : [`not killed, and yet: ${text}`]);
  for (const { call, k } of path.choose(pointsOf(trace), level)) {
    scratch.restore(start);
    const strace = [`trace=${CALLS}`, `inject=${call}:signal=KILL:when=${k}`];
    const { killed } = await runSession(scratch, { ...session, strace });
    const here = `${where}, killed at ${call} ${k}`;
    const before = path.deliveries.slice(0, level).join('');
    const found = unguarded(scratch, allowed(without(path.marks), before));
    scratch.deliver(path.deliveries[level] ?? '');
    const crashed = scratch.image();
    await judge(scratch, path, here, level + 1, [...found, ...(killed ? [] : ['not killed'])]);
    scratch.restore(crashed);
    // Without a journal to carry out, recovery is no more than opening.
    if (scratch.hasJournal()) await descend(scratch, path, here, level + 1);
  }
}

/** What the next login, undisturbed, makes of it. */
async function judge(
  scratch: Scratch,
  { marks, deliveries, sum }: Path,
  where: string,
  crashes: number,
  already: readonly string[],
): Promise<void> {
  const images = allowed(without(marks), deliveries.slice(0, crashes).join(''));
  const { image, complaints } = await recoverAndJudge(scratch, images, undefined);
  sum.add(`${image} after ${crashes} crashes`, where, [...already, ...complaints]);
}

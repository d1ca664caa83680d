/**
 * What an UPDATE costs, from the calls that it really makes: printed for whoever wants to see them, and
 * counted. Each fsync(2) is a wait for the disk, so none may be there without a reason (design §7).
 */
import { expect, test } from 'vitest';
import { runSession } from './child.js';
import { DELETIONS, MESSAGES, OLD, Scratch, without } from './scratch.js';
import { NO_TRACER } from './traced.js';

const JOURNAL = 'state/alice/journal';
const FOUR = [JOURNAL, 'spool/alice', JOURNAL, 'spool/alice'];
const CALLS = 'openat,pwrite64,ftruncate,fsync,rename,unlink,mkdir,utimensat,close';

interface Step {
  readonly call: string;
  /** Below the scratch directory. */
  readonly path: string;
  /** As strace(1) prints them, without the path and without octets. */
  readonly rest: string;
}

/** The changes of mailbox, journal and their directories. */
async function changesOf(scratch: Scratch, marks: readonly number[], quiet = false): Promise<Step[]> {
  const { said, trace } = await runSession(scratch, { marks, strace: [`trace=${CALLS}`] });
  expect(said).toBe('ok');
  const steps: Step[] = [];
  for (const line of trace.split('\n')) {
    const match =
      /^(\w+)\((?:AT_FDCWD<[^>]*>, )?(?:\d+<|")([^">]*)[>"](?:, (?:".*"\.*, )?(.*?))?\) += (\S+)/.exec(line);
    if (match === null) continue;
    const [, call = '', path = '', rest = ''] = match;
    const below = path.startsWith(scratch.root) ? path.slice(scratch.root.length + 1) : '';
    const ours = below === 'spool/alice' || below === 'state' || below.startsWith('state/');
    if (!ours || call === 'close' || (call === 'openat' && !rest.includes('O_CREAT'))) continue;
    steps.push({
      call,
      path: below,
      rest: call === 'utimensat' ? '' : rest.replaceAll(`${scratch.root}/`, ''),
    });
  }
  if (!quiet)
    for (const { call, path, rest } of steps)
      process.stdout.write(`  ${call}(${path}${rest && `, ${rest}`})\n`);
  return steps;
}

/** What QUIT does: at login the journals were made, which ends in a journal that is empty. */
function updateOf(steps: readonly Step[]): Step[] {
  const made = steps.findIndex(({ call, path }) => call === 'ftruncate' && path === JOURNAL);
  expect(made).toBeGreaterThan(0);
  return steps.slice(made + 1);
}

const fsyncs = (steps: readonly Step[]) =>
  steps.filter(({ call }) => call === 'fsync').map(({ path }) => path);

const count = (steps: readonly Step[], call: string, path?: string) =>
  steps.filter(step => step.call === call && (path === undefined || step.path === path)).length;

async function withScratch(work: (scratch: Scratch) => Promise<void>): Promise<void> {
  const scratch = new Scratch();
  try {
    await work(scratch);
  } finally {
    scratch.remove();
  }
}

test.skipIf(NO_TRACER).each(['last', 'all'])('deleting %s: one ftruncate, one fsync, no journal', shape =>
  withScratch(async scratch => {
    process.stdout.write(`${shape} deleted:\n`);
    scratch.reset(true);
    const marks = DELETIONS.get(shape) ?? [];
    const steps = await changesOf(scratch, marks);
    expect(scratch.content()).toBe(without(marks));
    expect(steps.map(({ call, path }) => `${call} ${path}`)).toEqual([
      'ftruncate spool/alice',
      'fsync spool/alice',
      ...steps.filter(({ call }) => call === 'utimensat').map(({ call, path }) => `${call} ${path}`),
    ]);
  }),
);

test.skipIf(NO_TRACER)(
  'deleting in the middle: four fsyncs, and the octets that move are written twice',
  () =>
    withScratch(async scratch => {
      process.stdout.write('middle deleted, for the first time:\n');
      const marks = [4];
      const first = await changesOf(scratch, marks);
      expect(scratch.content()).toBe(without(marks));
      expect(fsyncs(updateOf(first))).toEqual(FOUR);

      process.stdout.write('another time:\n');
      scratch.reuse(OLD);
      const again = await changesOf(scratch, marks);
      expect(scratch.content()).toBe(without(marks));
      expect(fsyncs(again)).toEqual(FOUR);
      expect(count(again, 'ftruncate', 'spool/alice')).toBe(1);
      expect(count(again, 'rename') + count(again, 'mkdir') + count(again, 'openat')).toBe(0);
      const moved = MESSAGES.slice(4).join('').length;
      const written = (path: string) =>
        again
          .filter(step => step.call === 'pwrite64' && step.path === path)
          .reduce((sum, { rest }) => sum + Number(rest.split(', ')[0]), 0);
      expect(written('spool/alice') - moved).toBeLessThanOrEqual(16); // The marker.
      // Header, phase twice, a hash for each sector, and the sectors around the marker.
      expect(written(JOURNAL) - moved).toBeLessThanOrEqual(3 * 512 + 8 * (OLD.length / 512 + 2) + 1024);
    }),
);

test.skipIf(NO_TRACER)('nothing deleted: nothing is written, but for the journals of the first session', () =>
  withScratch(async scratch => {
    const first = await changesOf(scratch, [], true);
    expect(first.filter(({ path }) => path === 'spool/alice')).toEqual([]);
    expect(fsyncs(first)).toContain('state/alice/journal.plan');
    scratch.reset(true);
    expect(await changesOf(scratch, [], true)).toEqual([]);
  }),
);

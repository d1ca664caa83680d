/**
 * Every call of open, UPDATE and recovery fails in turn, once or for good, or comes short. Whatever the
 * session said and whatever crash follows: the mailbox ends as it was or as it should be, never between,
 * and as it should be if it said +OK.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { type CrashPoint, crashPointsOf, Enumeration, newTally, type Tally } from './enumerate.js';
import { DELIVERIES, MAILBOXES, without } from './mailboxes.js';
import type { Call, Interference } from './memory-disk.js';
import {
  delivered,
  JOURNAL,
  mailboxOf,
  type Run,
  type RunOptions,
  recovery,
  update,
  worldWith,
} from './sessions.js';
import { sumOf, Table } from './table.js';
import type { World } from './world.js';

const { messages } = MAILBOXES[2]!;
const OLD = without(messages, []);
const LIMITS = { first: { full: 16, sample: 12 }, second: { full: 4, sample: 4 } };
const MAIL = DELIVERIES.slice(0, 2);

const ERRORS = ['EIO', 'ENOSPC', 'EDQUOT', 'EFBIG', 'EINTR'];
type Fate = 'written' | 'pending' | 'lost';
/** What a failed fsync leaves of the sectors that it was to write. */
const FATES: ((sector: number) => Fate)[] = [
  () => 'pending',
  () => 'lost',
  sector => (['lost', 'written', 'pending'] as const)[sector % 3]!,
];

interface Fault {
  readonly name: string;
  readonly interfere: (call: Call) => Interference | undefined;
}

/** All faults at the k-th call. */
function* faultsAt(call: Call): Generator<Fault> {
  const hits: [string, (one: Call) => boolean][] = [
    ['once', one => one.number === call.number],
    ['from then on', one => one.number >= call.number],
    ['and all of its kind', one => one.number >= call.number && one.name === call.name],
  ];
  for (const [when, hit] of hits) {
    for (const error of ERRORS) {
      // A signal does not interrupt for ever.
      if (error === 'EINTR' && when !== 'once') continue;
      for (const [f, fate] of (call.name === 'sync' ? FATES : FATES.slice(0, 1)).entries()) {
        const name = `${error} ${when} at ${call.number}: ${call.name} ${call.path} (${f})`;
        yield { name, interfere: one => (hit(one) ? { error, fate } : undefined) };
      }
    }
    if (call.name !== 'read' && call.name !== 'write') continue;
    const name = `short ${when} at ${call.number}: ${call.name} ${call.path}`;
    yield { name, interfere: one => (hit(one) && /read|write/.test(one.name) ? { atMost: 7 } : undefined) };
  }
}

/** The calls of a program that nothing disturbs. */
async function callsOf(program: (options: RunOptions) => Promise<Run<unknown>>): Promise<Call[]> {
  const calls: Call[] = [];
  await program({
    interfere: call => {
      calls.push(call);
      return undefined;
    },
  });
  return calls;
}

const tallies: Tally[] = [];
const table = new Table('a call fails, then a crash, recovery, crash, recovery');
afterAll(() => table.row('sum', sumOf(tallies)));

interface Outcomes {
  ok: number;
  refused: number;
  /** At which calls -ERR was said although the mailbox reads as it should become. */
  readonly doneNevertheless: Set<string>;
}

async function everyFault(
  tally: Tally,
  start: World,
  program: (world: World, options: RunOptions) => Promise<Run<unknown>>,
  fresh: Buffer,
  old: Buffer | undefined,
): Promise<Outcomes> {
  const outcomes: Outcomes = { ok: 0, refused: 0, doneNevertheless: new Set() };
  const enumeration = new Enumeration(tally, LIMITS, {}, MAIL);
  for (const call of await callsOf(options => program(start, options))) {
    for (const { name, interfere } of faultsAt(call)) {
      const run = await program(start, { interfere });
      expect(run.disk.openFiles, name).toBe(0);
      const ok = run.error === undefined;
      const point: CrashPoint = { world: run.world, after: name, torn: false };
      await enumeration.crashes([point], ok || old === undefined ? [fresh] : [old, fresh]);
      if (ok) {
        outcomes.ok++;
        expect(mailboxOf(run.world)?.equals(fresh), name).toBe(true);
      } else {
        outcomes.refused++;
        if (mailboxOf(run.world)?.equals(fresh)) outcomes.doneNevertheless.add(`${call.name} ${call.path}`);
      }
    }
  }
  return outcomes;
}

describe.each([
  ['a suffix', [3]],
  ['the first', [1]],
  ['all but the last', [1, 2]],
])('UPDATE deleting %s', (name, deleted) => {
  test.each([
    ['the first time', undefined, false],
    ['later', Buffer.alloc(0), false],
    ['on a full disk', Buffer.alloc(0), true],
  ])('%s', async (when, journal, full) => {
    const tally = newTally();
    const { ok, refused, doneNevertheless } = await everyFault(
      tally,
      worldWith(OLD, journal),
      // A suffix that is half cut is a matter of its own: see crash.sim.ts.
      (world, options) => update(world, deleted, { ...options, full, clearsBlocks: name !== 'a suffix' }),
      without(messages, deleted),
      OLD,
    );
    table.row(`UPDATE deleting ${name}, ${when}`, tally);
    console.log(`  of ${ok + refused} sessions ${ok} got +OK`);
    tallies.push(tally);
    expect(tally.examples).toEqual([]);
    // The cut may not be on the disk, or the journal is left for recovery to finish: only then.
    for (const call of doneNevertheless)
      expect(call).toMatch(/^(sync .*|truncate .*\/journal|write .*\/journal\.plan)$/);
  });
});

test('recovery from a crash after each step', async () => {
  const deleted = [1];
  const tally = newTally();
  const start = worldWith(OLD);
  const { points } = await crashPointsOf(start, {}, options => update(start, deleted, options));
  const committed = points.findIndex(({ after }) => after.startsWith(`sync ${JOURNAL} `));
  for (const { world } of points.slice(committed).filter(({ torn }) => !torn)) {
    for (const mail of MAIL) {
      const fresh = Buffer.concat([without(messages, deleted), mail]);
      await everyFault(tally, delivered(world, mail), recovery, fresh, Buffer.concat([OLD, mail]));
    }
  }
  table.row('recovery', tally);
  tallies.push(tally);
  expect(tally.examples).toEqual([]);
});

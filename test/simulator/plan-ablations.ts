/** The same as ablations.ts for an UPDATE by a plan: each step is left out by a disk that only says yes. */
import { RECORD_AT, STEP_KINDS } from '../../lib/maildrop/plan-format.js';
import { DELIVERIES, messageOf, without } from './mailboxes.js';
import type { Call } from './memory-disk.js';
import { delivered, MAILBOX, PLAN, PLAN_INO, type RunOptions, STATE, update, worldWith } from './sessions.js';
import type { World } from './world.js';

/** Equal in length, so that mail can come to lie just where a deletion left something behind. */
const MESSAGES = [messageOf('m1', 700), messageOf('m2', 900), messageOf('m3', 900)];
const [M1, , M3] = MESSAGES as [Buffer, Buffer, Buffer];

export interface Scene {
  readonly start: World;
  readonly deleted: readonly number[];
  readonly old: Buffer;
  readonly fresh: Buffer;
}

async function scene(
  deleted: readonly number[],
  start = worldWith(without(MESSAGES, []), Buffer.alloc(0)),
): Promise<Scene> {
  return { start, deleted, old: without(MESSAGES, []), fresh: without(MESSAGES, deleted) };
}

/** In one step that copies, or in several that save. */
const copied = () => scene([2]);
const saved = () => scene([1]);

/** Another plan was carried out just before, and then a message came that is equal to the last one. */
async function again(): Promise<Scene> {
  const first = await update(worldWith(without(MESSAGES, []), Buffer.alloc(0)), [2], { full: true });
  const start = delivered(first.world, M3);
  return { start, deleted: [1], old: Buffer.concat([M1, M3, M3]), fresh: Buffer.concat([M3, M3]) };
}

/** Whoever made the plan journal was killed before its name was on the disk. */
async function unnamed(): Promise<Scene> {
  const { start, ...rest } = await copied();
  const names = start.directories.get(STATE)!.now;
  const disk = new Map([...names].filter(([name]) => name !== 'journal.plan'));
  const directory = { now: names, disk, changes: [new Map([['journal.plan', PLAN_INO]])] };
  return { ...rest, start: { ...start, directories: new Map(start.directories).set(STATE, directory) } };
}

export interface PlanAblation {
  readonly name: string;
  readonly scene: () => Promise<Scene>;
  readonly update?: RunOptions;
  readonly recovery?: RunOptions;
  /** What is found then: mail lost, doubled or torn; or a conflict where there was none. */
  readonly shows: 'nothing' | 'content' | 'false alarm';
  readonly deliveries?: readonly Buffer[];
}

function withoutSync(path: string, matches: (since: readonly string[]) => boolean): RunOptions {
  return {
    interfere: call =>
      call.name === 'sync' && call.path === path && matches(call.since) ? 'pretend' : undefined,
  };
}

function withoutWrite(matches: (call: Call, octets: Buffer) => boolean): RunOptions {
  return {
    interfere: call =>
      call.name === 'write' && matches(call, Buffer.from(call.octets!)) ? 'pretend' : undefined,
  };
}

const both = (options: RunOptions) => ({ update: options, recovery: options });
const wrote = (since: readonly string[]) => since.some(step => step.startsWith('write'));
const cut = (since: readonly string[]) => since.some(step => step.startsWith('truncate'));
const recorded = (since: readonly string[]) => RECORD_AT.some(at => since.includes(`write ${at}`));

export const PLAN_ABLATIONS: readonly PlanAblation[] = [
  { name: 'nothing (copied)', scene: copied, shows: 'nothing' },
  { name: 'nothing (saved)', scene: saved, shows: 'nothing' },
  { name: 'nothing (after another plan)', scene: again, shows: 'nothing' },
  { name: 'nothing (name not durable)', scene: unnamed, shows: 'nothing' },
  {
    name: 'fsync of the plan that is wiped first',
    scene: again,
    update: withoutSync(PLAN, since => since.includes('write 0 zero')),
    shows: 'content',
  },
  {
    name: 'fsync of the plan before its header',
    scene: copied,
    update: withoutSync(PLAN, since => since.includes('write 1536')),
    shows: 'false alarm',
  },
  {
    name: 'fsync of the header of the plan',
    scene: copied,
    update: withoutSync(PLAN, since => since.join() === 'write 0'),
    shows: 'content',
  },
  {
    name: 'fsync of its directory',
    scene: unnamed,
    update: withoutSync(STATE, () => true),
    shows: 'content',
  },
  {
    name: 'fsync of the mailbox after a step',
    scene: saved,
    ...both(withoutSync(MAILBOX, wrote)),
    shows: 'content',
  },
  {
    name: 'fsync of the next step, recorded',
    scene: saved,
    ...both(withoutSync(PLAN, since => recorded(since) && !since.includes('write 1536'))),
    shows: 'content',
  },
  {
    name: 'clearing what a cut may clear',
    scene: copied,
    ...both(withoutWrite((call, octets) => call.path === MAILBOX && octets.every(octet => octet === 0))),
    shows: 'content',
  },
  {
    name: 'record of the cut',
    scene: copied,
    ...both(
      withoutWrite(
        (call, octets) =>
          call.path === PLAN &&
          RECORD_AT.includes(call.position!) &&
          octets.readBigUInt64LE(24) === BigInt(STEP_KINDS.indexOf('cut')),
      ),
    ),
    shows: 'content',
    deliveries: [DELIVERIES[0]!, M3],
  },
  {
    name: 'fsync of the mailbox after the cut',
    scene: copied,
    ...both(withoutSync(MAILBOX, cut)),
    shows: 'content',
  },
  {
    name: 'fsync of the plan found',
    scene: saved,
    recovery: withoutSync(PLAN, since => since.join() === 'write 0'),
    shows: 'content',
  },
  {
    name: 'fsync of the mailbox found',
    scene: copied,
    recovery: withoutSync(MAILBOX, since => since.length === 0),
    shows: 'content',
  },
];

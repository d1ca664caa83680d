/**
 * A process of ours is killed at any moment of an UPDATE, and of the recovery from it, and the next to come is a mail
 * reader that respects the dotlock. It breaks one that names a dead process at once, and deletes a message; one that
 * names an UPDATE it leaves alone. So whenever it gets in, the mailbox must be whole, and in the end every message is
 * there once; and whenever it does not, our next login must be able to take the lock over. Without that line, or with
 * one that comes too late or goes too early, that is not so.
 */
import { describe, expect, test } from 'vitest';
import { updateIdOf } from '../../lib/maildrop/lock-line.js';
import { holdsUpdate, type UpdateLocks } from '../../lib/maildrop/update-locks.js';
import { Scanner } from '../../lib/mbox/scanner.js';
import { DELIVERIES, deletionSets, MAILBOXES, without } from './mailboxes.js';
import { MemoryDisk } from './memory-disk.js';
import {
  delivered,
  fileAt,
  journalsOn,
  MAILBOX,
  mailboxOf,
  type Run,
  type RunOptions,
  recovery,
  update,
  withFile,
  worldWith,
} from './sessions.js';
import { durableFile } from './unsynced.js';
import type { World } from './world.js';

/** What the dotlock says when its process is gone: the UPDATEs it names; none when it names the process. */
type Line = readonly string[];

/** What there is when a process is killed. */
interface Killed {
  readonly world: World;
  readonly line: Line;
  readonly after: string;
}

/** What may be left out of what the lock says. */
type Ablation = 'never said' | 'unsaid too early' | 'unsaid in recovery' | undefined;

/** Runs a program and keeps what there is after each change, of the disk or of the lock. */
async function killedIn<T>(
  start: World,
  { line, ablation }: { readonly line: Line; readonly ablation: Ablation },
  program: (options: RunOptions) => Promise<Run<T>>,
): Promise<Killed[]> {
  let now: { world: World; line: Line } = { world: start, line };
  const points: Killed[] = [{ ...now, after: 'nothing' }];
  const at = (next: Partial<typeof now>, after: string) => {
    now = { ...now, ...next };
    points.push({ ...now, after });
  };
  const locks: UpdateLocks = {
    mustBeIntact: async () => {},
    updating: nonce => {
      if (ablation === 'never said') return;
      const id = updateIdOf(nonce);
      if (now.line[0] !== id) at({ line: [id, ...now.line].slice(0, 2) }, 'the lock names the UPDATE');
    },
    updated: () => at({ line: [] }, 'the lock names its process'),
  };
  await program({
    locks,
    onChange: (world, { name, path, position }) => {
      // The octets are moved, and what is behind them is still there.
      const early = ablation === 'unsaid too early' && name === 'sync' && path === MAILBOX;
      at({ world, ...(early && { line: [] }) }, `${name} ${path} ${position ?? ''}`);
    },
  });
  return points;
}

class Judge {
  states = 0;
  blocked = 0;
  readonly violations: string[] = [];

  constructor(
    private readonly messages: readonly Buffer[],
    private readonly deleted: readonly number[],
    private readonly full: boolean,
  ) {}

  /** What becomes of it when a mail reader comes, and then we. @param mail what was delivered since */
  async judge({ world, line, after }: Killed, mail: Buffer): Promise<void> {
    this.states++;
    const complain = (what: string) => {
      this.violations.push(`killed after ${after}: ${what}`);
    };
    let found = world;
    if (line.length === 0) found = deletesFirst(world);
    else {
      this.blocked++;
      if (!(await isOurs(world, line))) complain('nobody can take over the lock');
    }
    const { world: end, result } = await recovery(found, { full: this.full });
    if (result === undefined) return complain('not recovered');
    const content = mailboxOf(end)!.toString('latin1');
    const gone = line.length === 0 ? firstOf(world) : '';
    for (const [i, message] of this.messages.entries()) {
      const copies = content.split(plain(message)).length - 1;
      const may = this.deleted.includes(i + 1) || plain(message) === gone;
      if (copies > 1 || (copies === 0 && !may)) complain(`message ${i + 1} is there ${copies} times`);
    }
    if (mail.length > 0 && plain(mail) !== gone && content.split(plain(mail)).length !== 2)
      complain('what was delivered is not there once');
  }
}

const plain = (message: Buffer) => message.toString('latin1').trimEnd();

function extentsOf(content: Buffer): { start: number; end: number }[] {
  const scanner = new Scanner();
  scanner.push(content);
  const index = scanner.end();
  return Array.from({ length: index.messages }, (_, i) => index.extent(i + 1));
}

function firstOf(world: World): string {
  const content = mailboxOf(world)!;
  const [first] = extentsOf(content);
  return first === undefined ? '' : plain(content.subarray(first.start, first.end));
}

/** A mail reader that was let in: it writes back what it has read, but for the first message. */
function deletesFirst(world: World): World {
  const content = mailboxOf(world)!;
  const [first] = extentsOf(content);
  return withFile(world, durableFile(fileAt(world, MAILBOX)!.ino, content.subarray(first?.end ?? 0)));
}

async function isOurs(world: World, line: Line): Promise<boolean> {
  const journals = journalsOn(new MemoryDisk(world));
  try {
    return await holdsUpdate(journals, line);
  } finally {
    await journals.redo.close().finally(() => journals.plan.close());
  }
}

async function judged(
  messages: readonly Buffer[],
  deleted: readonly number[],
  full: boolean,
  ablation?: Ablation,
): Promise<Judge> {
  const judge = new Judge(messages, deleted, full);
  const start = worldWith(without(messages, []), Buffer.alloc(0));
  const inUpdate = ablation === 'unsaid in recovery' ? undefined : ablation;
  const first = await killedIn(start, { line: [], ablation: inUpdate }, options =>
    update(start, deleted, { full, ...options }),
  );
  for (const point of first) {
    await judge.judge(point, Buffer.alloc(0));
    // A delivery by one who has not taken the dotlock, and a recovery that is killed in its turn.
    for (const mail of DELIVERIES.slice(0, 3)) {
      const world = delivered(point.world, mail);
      // One that names a dead process is broken, and made anew; one that names the UPDATE is taken over.
      const line = ablation === 'unsaid in recovery' ? [] : point.line;
      const second = await killedIn(world, { line, ablation: ablation && 'never said' }, options =>
        recovery(world, { full, ...options }),
      );
      for (const again of second) {
        await judge.judge({ ...again, after: `${point.after}, then ${again.after}` }, mail);
      }
    }
  }
  return judge;
}

describe.each([
  { how: 'by the journal', full: false },
  { how: 'by a plan, the disk being full', full: true },
])('a mail reader that respects the dotlock, after a kill in an UPDATE $how', ({ full }) => {
  test.each(MAILBOXES.slice(1, 4))('$name', async ({ name, messages }) => {
    let [states, blocked] = [0, 0];
    for (const deleted of deletionSets(messages.length)) {
      const judge = await judged(messages, deleted, full);
      states += judge.states;
      blocked += judge.blocked;
      expect(judge.violations.slice(0, 5)).toEqual([]);
    }
    console.log(`${name}, killed: ${states} states, in ${blocked} of them the lock names the UPDATE`);
    expect(blocked).toBeGreaterThan(100);
  });

  test.each(['never said', 'unsaid too early', 'unsaid in recovery'] as const)(
    'is not kept away where that is %s',
    async ablation => {
      const { messages } = MAILBOXES[2]!;
      const { violations, states } = await judged(messages, [1], full, ablation);
      console.log(`${ablation}: ${violations.length} violations in ${states} states`);
      expect(violations.length).toBeGreaterThan(0);
    },
  );
});

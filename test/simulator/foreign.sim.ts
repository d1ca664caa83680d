/**
 * Between crash and recovery a program that takes none of our locks rewrites the mailbox, or the journal is
 * not what it was. Deletions may be undone then, and nothing else: every message that was to be kept and
 * was still whole, in the mailbox or in a journal that it was not yet redone from, is whole afterwards.
 */
import { constants } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { decodeHeader, REDO_AT, SECTOR } from '../../lib/maildrop/journal-format.js';
import { readRecord } from '../../lib/maildrop/journal-record.js';
import { Scanner } from '../../lib/mbox/scanner.js';
import { crashPointsOf, DEEP } from './enumerate.js';
import { DELIVERIES, MAILBOXES, randomFrom, without } from './mailboxes.js';
import { MemoryDisk } from './memory-disk.js';
import {
  delivered,
  fileAt,
  JOURNAL,
  MAILBOX,
  mailboxOf,
  recovery,
  STATE,
  update,
  withFile,
  worldWith,
} from './sessions.js';
import { durableFile, type MemoryFile } from './unsynced.js';
import { powerCuts, type World } from './world.js';

const LIMIT = DEEP ? { full: 1024, sample: 256 } : { full: 32, sample: 12 };
const MAIL = DELIVERIES.slice(0, 2);

/** Offsets at which messages begin, and the end; none when it is no mailbox any more. */
function bordersOf(content: Buffer): number[] {
  try {
    const scanner = new Scanner();
    scanner.push(content);
    const index = scanner.end();
    const starts = Array.from({ length: index.messages }, (_, i) => index.extent(i + 1).start);
    return [...starts, content.length];
  } catch {
    return [];
  }
}

interface Edit {
  readonly name: string;
  readonly content: Buffer;
  /** In another file of the same name. */
  readonly replaces?: boolean;
}

/** What a mail reader, an editor or an administrator may make of the file. */
function* editsOf(found: Buffer, old: Buffer): Generator<Edit> {
  const borders = bordersOf(found);
  const text = found.toString('latin1');
  for (const [i, start] of borders.entries()) {
    for (const end of borders.slice(i + 1)) {
      const content = Buffer.concat([found.subarray(0, start), found.subarray(end)]);
      yield { name: `cut ${start}-${end}`, content };
      yield { name: `cut ${start}-${end} by rename`, content, replaces: true };
    }
  }
  for (const at of [...borders, 1, SECTOR, Math.floor(found.length / 2)].filter(at => at <= found.length)) {
    const content = Buffer.concat([found.subarray(0, at), Buffer.from('st'), found.subarray(at)]);
    yield { name: `insert at ${at}`, content };
    yield { name: `truncate to ${at}`, content: found.subarray(0, at) };
  }
  for (const { index } of text.matchAll(/^Status: O$/gm)) {
    const edited = (status: string) =>
      Buffer.from(`${text.slice(0, index)}Status: ${status}${text.slice(index + 9)}`, 'latin1');
    yield { name: `mark at ${index}`, content: edited('R') };
    yield { name: `mark at ${index}, longer`, content: edited('RO') };
  }
  yield { name: 'backup over it', content: old };
  yield { name: 'backup by rename', content: old, replaces: true };
  yield { name: 'copied', content: found, replaces: true };
  yield { name: 'empty', content: Buffer.alloc(0) };
}

function edited(world: World, { content, replaces }: Edit): World {
  const file = fileAt(world, MAILBOX)!;
  if (!replaces) return withFile(world, durableFile(file.ino, content));
  const names = new Map(world.directories.get('/')!.now).set('alice', 77n);
  const root = { now: names, disk: names, changes: [] };
  const directories = new Map(world.directories).set('/', root);
  return withFile({ ...world, directories }, durableFile(77n, content));
}

/** Without what mail readers change, and without the empty line after it. */
function plain(octets: Buffer): string {
  return octets.toString('latin1').replace(/^Status: .*$/gm, 'Status:');
}

/** The messages that recovery finds in a journal of phase 1. One that is torn was never committed. */
async function redoOf(world: World): Promise<string> {
  const journal = fileAt(world, JOURNAL)?.now ?? Buffer.alloc(0);
  if (journal.length < 2 * SECTOR) return '';
  const disk = new MemoryDisk(world);
  const state = await readRecord(disk, await disk.open(JOURNAL, constants.O_RDONLY), journal.length);
  if (state.is !== 'committed' || state.phase === 2) return '';
  const { from, newSize } = state.header;
  return plain(journal.subarray(REDO_AT, REDO_AT + newSize - from));
}

describe.each([
  { ...MAILBOXES[1]!, full: false },
  { ...MAILBOXES[2]!, full: false },
  { ...MAILBOXES[3]!, full: false },
  // By its plan. Messages that no step cuts in two: another program would find them so.
  { ...MAILBOXES[2]!, full: true },
])('a rewrite of $name, disk full: $full', ({ messages, full }) => {
  const old = without(messages, []);
  test.each(messages.slice(0, -1).map((_, i) => [i + 1]))('after message %i was deleted', async n => {
    const start = worldWith(old, full ? Buffer.alloc(0) : undefined);
    const { points } = await crashPointsOf(start, { full }, options => update(start, [n], options));
    const kept = messages.filter((_, i) => i !== n - 1).map(one => plain(one.subarray(0, -1)));
    const random = randomFrom(n);
    let states = 0;
    let aside = 0;
    const lost: string[] = [];
    for (const point of points.filter(({ torn }) => !torn)) {
      for (const crashed of [point.world, ...powerCuts(point.world, LIMIT, random)]) {
        const redo = await redoOf(crashed);
        for (const edit of editsOf(mailboxOf(crashed)!, old)) {
          const before = plain(edit.content);
          for (const mail of MAIL) {
            const { world, result } = await recovery(delivered(edited(crashed, edit), mail), { full });
            const after = plain(mailboxOf(world)!);
            states++;
            if (result?.did === 'set-aside') aside++;
            // What is no mailbox any more is left as it is: nobody can log in, the journal is kept.
            const isMailbox = before === '' || bordersOf(edit.content).length > 0;
            if (!isMailbox && result?.did === 'set-aside') continue;
            const isLost = (one: string) =>
              (before.includes(one) || redo.includes(one)) && !after.includes(one);
            if (result === undefined || kept.some(isLost) || !after.includes(plain(mail))) {
              lost.push(`${point.after}: ${edit.name}: ${JSON.stringify(result)}`);
            }
            if (result?.did === 'set-aside' && fileAt(world, result.path) === undefined) {
              lost.push(`${point.after}: ${edit.name}: no journal at ${result.path}`);
            }
          }
        }
      }
    }
    const of = `${states.toLocaleString('en')} states, ${aside.toLocaleString('en')} journals set aside`;
    console.log(`rewritten after deleting ${n}: ${of}, ${lost.length} messages lost`);
    expect(lost.slice(0, 5)).toEqual([]);
  });
});

describe('a journal that is not what it was', () => {
  const { messages } = MAILBOXES[2]!;
  const [old, fresh] = [without(messages, []), without(messages, [1])];

  /** After the commit, in the middle of the redo, before the cut, after it. */
  async function stages(): Promise<World[]> {
    const { points } = await crashPointsOf(worldWith(old), {}, one => update(worldWith(old), [1], one));
    const whole = points.filter(({ world }) => {
      const header = fileAt(world, JOURNAL)?.now.subarray(0, SECTOR);
      return header?.length === SECTOR && typeof decodeHeader(header) !== 'string';
    });
    const written = whole.filter(({ after, torn }) => after.startsWith('write /alice') && torn);
    const cut = whole.filter(({ after }) => /^(sync|truncate) \/alice/.test(after));
    return [whole[0]!, written[0]!, ...cut].map(({ world }) => world);
  }

  function withJournal(world: World, change: (journal: MemoryFile) => MemoryFile): World {
    return withFile(world, change(fileAt(world, JOURNAL)!));
  }

  /** The mailbox is as it was found, or as it should become; what was in the journal is somewhere still. */
  async function expectHarmless(world: World, name: string): Promise<void> {
    const found = mailboxOf(world)!;
    const journal = fileAt(world, JOURNAL)!.now;
    const { world: after, result } = await recovery(world);
    const content = mailboxOf(after)!;
    if (!content.equals(found) && !content.equals(fresh)) expect.fail(`${name}: ${JSON.stringify(result)}`);
    if (result?.did === 'finished') return;
    const kept = [...after.directories.get(STATE)!.now.values()].map(ino => after.files.get(ino)!.now);
    if (!kept.some(one => one.equals(journal))) expect.fail(`${name}: the journal is gone`);
  }

  test('each bit of header and phase flipped, and some of the rest', async () => {
    const random = randomFrom(7);
    for (const [s, world] of (await stages()).entries()) {
      const size = fileAt(world, JOURNAL)!.now.length;
      const bits = Array.from({ length: 2 * SECTOR * 8 }, (_, bit) => bit);
      while (bits.length < 2 * SECTOR * 8 + 500) bits.push(Math.floor(random() * size * 8));
      for (const bit of bits) {
        const flipped = withJournal(world, journal => {
          const octets = Buffer.from(journal.now);
          octets[bit >> 3]! ^= 1 << (bit & 7);
          return { ...durableFile(journal.ino, octets) };
        });
        await expectHarmless(flipped, `stage ${s}, bit ${bit}`);
      }
    }
  });

  test('cut short, or longer', async () => {
    for (const [s, world] of (await stages()).entries()) {
      const { now } = fileAt(world, JOURNAL)!;
      for (let size = 1; size < now.length; size += 61) {
        const short = withJournal(world, journal => durableFile(journal.ino, now.subarray(0, size)));
        await expectHarmless(short, `stage ${s}, ${size} octets`);
      }
      const long = Buffer.concat([now, Buffer.alloc(5000, 'From ')]);
      await expectHarmless(
        withJournal(world, journal => durableFile(journal.ino, long)),
        `stage ${s}, longer`,
      );
    }
  });

  const FOREIGN: [string, Partial<MemoryFile>][] = [
    ['a symbolic link', { kind: 'symlink' }],
    ['of another user', { uid: 4242 }],
    ['writable by all', { mode: 0o666 }],
    ['with a second name', { nlink: 2 }],
  ];

  test.each(FOREIGN)(
    '%s: neither followed, nor changed, nor written over by the next UPDATE',
    async (_name, odd) => {
      for (const world of await stages()) {
        const foreign = withJournal(world, journal => ({ ...journal, ...odd }));
        const [mailbox, journal] = [mailboxOf(foreign)!, fileAt(foreign, JOURNAL)!.now];
        const { world: after, result } = await recovery(foreign);
        expect(result?.did).toBe('ignored');
        expect(mailboxOf(after)!.equals(mailbox)).toBe(true);
        expect(fileAt(after, JOURNAL)!.now.equals(journal)).toBe(true);
        const session = await update(after, [1]);
        expect(fileAt(session.world, JOURNAL)!.now.equals(journal)).toBe(true);
        expect(session.error).toBeDefined();
        expect(mailboxOf(session.world)!.equals(mailbox)).toBe(true);
      }
    },
  );

  test('of another mailbox: nothing is redone', async () => {
    for (const world of await stages()) {
      const other = edited(world, { name: 'another', content: mailboxOf(world)!, replaces: true });
      const { world: after, result } = await recovery(other);
      expect(result?.did).toBe('set-aside');
      expect(mailboxOf(after)!.subarray(0, mailboxOf(world)!.length).equals(mailboxOf(world)!)).toBe(true);
    }
  });

  test('without a mailbox: kept', async () => {
    const [world] = await stages();
    const root = { now: new Map([['state', 0n]]), disk: new Map([['state', 0n]]), changes: [] };
    const gone = { ...world!, directories: new Map(world!.directories).set('/', root) };
    const { world: after, result } = await recovery(gone);
    expect(result).toMatchObject({ did: expect.stringMatching(/^(kept|set-aside)$/) });
    const { path } = result as { path: string };
    expect(fileAt(after, path)!.now.equals(fileAt(world!, JOURNAL)!.now)).toBe(true);
  });
});

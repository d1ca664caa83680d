/**
 * A disk that is really full: a tmpfs whose size is swept, a page at a time, across what an UPDATE needs;
 * and a limit on the size of files, swept likewise. Whoever has logged in before can delete on a disk without
 * a free page, spool and state on the same one; whoever has not needs a page for each of lock and plan,
 * unless only the last messages go.
 */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { message } from '../support/mailbox.js';
import { FULL } from './built.js';
import { runSession } from './child.js';
import { allowed, imageOf, openHere, recoverAndJudge } from './recovered.js';
import { DELETIONS, OLD, PLAN_OCTETS, Scratch, without } from './scratch.js';
import { PAGE, SmallDisk } from './small-disk.js';
import { inParallel, Tally } from './sweep.js';

/** More than the journals of the whole mailbox take, in pages; the rest is directories and locks. */
const MOST_PAGES = Math.ceil((2 * OLD.length) / PAGE) + 8;
/** Above these only the larger plan journal does not fit: not every step differs. */
const PAGES = [...Array(MOST_PAGES + 1).keys(), MOST_PAGES + PLAN_OCTETS / PAGE];

const disk = SmallDisk.mount();
const isSuffix = (name: string) => ['last', 'all'].includes(name);

interface Result {
  readonly said: 'ok' | 'err';
  readonly text: string;
}

async function updateHere(scratch: Scratch, marks: readonly number[]): Promise<Result> {
  try {
    const maildrop = await openHere(scratch);
    for (const n of marks) await maildrop.mark(n);
    await maildrop.update();
    return { said: 'ok', text: '' };
  } catch (error) {
    return { said: 'err', text: String(error instanceof Error ? (error.cause ?? error) : error) };
  }
}

test.skipIf(disk === undefined)('disk full: deleted, unless a first journal has no room', async () => {
  const sum = new Tally();
  const cases = [...DELETIONS].flatMap(([name, marks]) => [
    { name, marks, journal: false },
    { name: `${name}, again`, marks, journal: true },
  ]);
  for (const { name, marks, journal } of cases) {
    for (const pages of PAGES) {
      disk?.enlarge();
      const scratch = new Scratch(join(disk!.dir, 'scratch'));
      // The session lock has its page, as on another file system.
      await (await openHere(scratch)).release();
      scratch.reset(journal);
      disk?.fill(pages);
      const { said, text } = await updateHere(scratch, marks);
      const images = allowed(without(marks), '');
      const image = imageOf(scratch.content(), images);
      const complaints: string[] = [];
      if (image !== (said === 'ok' ? 'after' : 'before'))
        complaints.push(`${image}, and yet ${said} (${text})`);
      // A page for the dotlock, and one for the plan.
      const enough = journal || isSuffix(name) || pages >= 2;
      if (enough !== (said === 'ok')) complaints.push(`told ${said} (${text})`);
      if (scratch.hasJournal()) complaints.push('a journal was left behind');
      if (scratch.beside().length > 0) complaints.push(`left behind: ${scratch.beside()}`);
      // Room again, and all goes on.
      disk?.enlarge();
      const later = await recoverAndJudge(scratch, images, said);
      if (later.image !== image) complaints.push(`${image} became ${later.image}`);
      sum.add(`told ${said}, ${image}`, `${pages} pages free, ${name} deleted`, [
        ...complaints,
        ...later.complaints,
      ]);
      scratch.remove();
    }
  }
  sum.print('disk full (tmpfs)');
  expect(sum.violations).toEqual([]);
});

test.skipIf(disk === undefined)('who has logged in before can delete without a free page', async () => {
  for (const [name, marks] of DELETIONS) {
    disk?.enlarge();
    const scratch = new Scratch(join(disk!.dir, 'scratch'));
    await (await openHere(scratch)).release();
    disk?.fill();
    expect(disk?.isFull()).toBe(true);
    expect({ name, ...(await updateHere(scratch, marks)) }).toEqual({ name, said: 'ok', text: '' });
    expect(scratch.content()).toBe(without(marks));
    scratch.remove();
  }
});

test.skipIf(disk === undefined)('thousands of messages with others between them, no page free', async () => {
  const messages = Array.from({ length: 12_000 }, (_, i) => message(i + 1, `${i}\n`));
  disk?.enlarge();
  const scratch = new Scratch(join(disk!.dir, 'scratch'), messages.join(''));
  await (await openHere(scratch)).release();
  disk?.fill();
  const marks = messages.map((_, i) => i + 1).filter(n => n % 2 === 1);
  expect(await updateHere(scratch, marks)).toEqual({ said: 'ok', text: '' });
  expect(scratch.content()).toBe(messages.filter((_, i) => i % 2 === 1).join(''));
  scratch.remove();
});

test.skipIf(disk === undefined)('of identical messages the later ones, no page free', async () => {
  const [twin, other] = [message('twin'), message('other')];
  const kept = [twin, other, twin].join('');
  disk?.enlarge();
  const scratch = new Scratch(join(disk!.dir, 'scratch'), `${kept}${twin}${message('last')}`);
  await (await openHere(scratch)).release();
  disk?.fill();
  expect(await updateHere(scratch, [4])).toEqual({ said: 'ok', text: '' });
  expect(scratch.content()).toBe(kept + message('last'));
  scratch.remove();
});

/** With it in front, the part of the mailbox that changes is past every limit tried. */
const LONG_MESSAGE = message('in front', 'a long message\n'.repeat(4000));
/** Units of `ulimit -f` (POSIX: 512 octets; of bash, 1024), up to more than the journal takes. */
const LIMITS = Array.from({ length: 36 }, (_, i) => i).filter(i => FULL || i % 2 === 0);

test.each([
  { what: 'a short mailbox', before: '' },
  { what: 'a mailbox longer than the limit', before: LONG_MESSAGE },
])(
  'a file size limit, $what: OLD and an error, or NEW and ok; past the limit, a journal for later',
  async ({ what, before }) => {
    const sum = new Tally();
    const shapes = [...DELETIONS].filter(([name]) => FULL || ['first', 'alternate', 'all'].includes(name));
    await inParallel(shapes, async ([name, shape]) => {
      const scratch = new Scratch(undefined, before + OLD);
      const marks = before === '' ? shape : shape.map(n => n + 1);
      const images = { before: before + OLD, after: before + without(shape) };
      for (const limit of LIMITS) {
        scratch.reset(limit % 4 === 0);
        const { said, text } = await runSession(scratch, { marks, shell: `ulimit -f ${limit}` });
        const now = imageOf(scratch.content(), images);
        const kept = scratch.hasJournal();
        const { image, complaints } = await recoverAndJudge(scratch, images, said);
        if (said === undefined) complaints.push('the client was told nothing');
        // The smallest plan is a page; nothing past the limit can be written, not even what is there.
        const enough = before === '' && 512 * limit >= Math.max(PAGE, OLD.length);
        if (enough && said !== 'ok') complaints.push(`told ${said} (${text})`);
        if (said === 'ok' && now !== 'after') complaints.push('ok was said before it was true');
        if (said === 'err' && !kept && now !== 'before') complaints.push(`${now}, no journal: ${text}`);
        sum.add(
          `told ${said}, ${image}${kept ? ' by its journal' : ''}`,
          `limit ${limit}, ${name} deleted`,
          complaints,
        );
      }
      scratch.remove();
    });
    sum.print(`file size limit, ${what}`);
    expect(sum.violations).toEqual([]);
  },
);

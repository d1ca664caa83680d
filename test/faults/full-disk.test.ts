/**
 * A disk that is really full: a tmpfs whose size is swept, a page at a time, across what an UPDATE needs;
 * and a limit on the size of files, swept likewise. Deletions that need no space work all the same.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { message } from '../support/mailbox.js';
import { FULL } from './built.js';
import { runSession } from './child.js';
import { allowed, imageOf, openHere, recoverAndJudge } from './recovered.js';
import { DELETIONS, OLD, Scratch, without } from './scratch.js';
import { inParallel, Tally } from './sweep.js';

const PAGE = 4096;
/** More than the journal of the whole mailbox takes, in pages; the rest is directories and locks. */
const MOST_PAGES = Math.ceil((2 * OLD.length) / PAGE) + 8;

const mountPoint = mkdtempSync(join(tmpdir(), 'mbox-pop3d-full-'));
const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', mountPoint]).status === 0;
if (!mounted) process.stderr.write('SKIPPED: disk full: only root can mount a tmpfs\n');

afterAll(() => {
  if (mounted) execFileSync('umount', [mountPoint]);
  rmSync(mountPoint, { recursive: true });
});

/** Changes the size of the mounted tmpfs. */
function resize(octets: number): void {
  execFileSync('mount', ['-o', `remount,size=${octets}`, mountPoint]);
}

/** What the mounted file system holds now, in octets. */
function used(): number {
  const lines = execFileSync('df', ['--block-size=1', '--output=used', mountPoint], { encoding: 'utf8' });
  return Number(lines.trim().split('\n').pop());
}

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

test.skipIf(!mounted)('disk full: OLD and an error, or NEW and ok', async () => {
  const sum = new Tally();
  const cases = [...DELETIONS].flatMap(([name, marks]) => [
    { name, marks, journal: false },
    { name: `${name}, again`, marks, journal: true },
  ]);
  for (const { name, marks, journal } of cases) {
    const enough: string[] = [];
    for (let pages = 0; pages <= MOST_PAGES; pages++) {
      resize(16 * 1024 * 1024);
      const scratch = new Scratch(join(mountPoint, 'scratch'));
      scratch.reset(journal);
      resize(used() + pages * PAGE);
      const { said, text } = await updateHere(scratch, marks);
      if (said === 'ok') enough.push(`${pages}`);
      const images = allowed(without(marks), '');
      const image = imageOf(scratch.content(), images);
      const complaints: string[] = [];
      if (image !== (said === 'ok' ? 'after' : 'before'))
        complaints.push(`${image}, and yet ${said} (${text})`);
      if (scratch.hasJournal()) complaints.push('a journal was left behind');
      if (scratch.beside().length > 0) complaints.push(`left behind: ${scratch.beside()}`);
      // Room again, and all goes on.
      resize(16 * 1024 * 1024);
      const later = await recoverAndJudge(scratch, images, said);
      if (later.image !== image) complaints.push(`${image} became ${later.image}`);
      sum.add(`told ${said}, ${image}`, `${pages} pages free, ${name} deleted`, [
        ...complaints,
        ...later.complaints,
      ]);
      scratch.remove();
    }
    // Both sides of the need were seen.
    expect(enough.length, name).toBeGreaterThan(0);
  }
  sum.print('disk full (tmpfs)');
  expect(sum.violations).toEqual([]);
});

test.skipIf(!mounted)(
  'disk full: what needs no journal is deleted with not one page free for it',
  async () => {
    for (const shape of ['last', 'all']) {
      resize(16 * 1024 * 1024);
      const scratch = new Scratch(join(mountPoint, shape));
      const marks = DELETIONS.get(shape) ?? [];
      const maildrop = await openHere(scratch); // The locks take a page each.
      for (const n of marks) await maildrop.mark(n);
      mkdirSync(join(mountPoint, 'ballast'), { recursive: true });
      resize(used());
      expect(() => writeFileSync(join(mountPoint, 'ballast', 'x'), 'x')).toThrow('ENOSPC');
      await maildrop.update();
      expect(scratch.content(), shape).toBe(without(marks));
      scratch.remove();
      rmSync(join(mountPoint, 'ballast'), { recursive: true });
    }
  },
);

/** With it in front, the part of the mailbox that changes is past every limit tried. */
const LONG_MESSAGE = message('in front', 'a long message\n'.repeat(4000));
/** Units of `ulimit -f` (POSIX: 512 octets; of bash, 1024), up to more than the journal takes. */
const LIMITS = Array.from({ length: 36 }, (_, i) => i).filter(i => FULL || i % 2 === 0);

test.each([
  { what: 'a short mailbox', before: '' },
  { what: 'a mailbox longer than the limit', before: LONG_MESSAGE },
])(
  'a file size limit, $what: OLD and an error, NEW and ok, or a journal for later',
  async ({ what, before }) => {
    const sum = new Tally();
    const shapes = [...DELETIONS].filter(([name]) => FULL || ['first', 'alternate', 'all'].includes(name));
    await inParallel(shapes, async ([name, shape]) => {
      const scratch = new Scratch(undefined, before + OLD);
      const marks = before === '' ? shape : shape.map(n => n + 1);
      const images = { before: before + OLD, after: before + without(shape) };
      for (const limit of LIMITS) {
        scratch.reset();
        const { said, text } = await runSession(scratch, { marks, shell: `ulimit -f ${limit}` });
        const now = imageOf(scratch.content(), images);
        const kept = scratch.hasJournal();
        const { image, complaints } = await recoverAndJudge(scratch, images, said);
        if (said === undefined) complaints.push('the client was told nothing');
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

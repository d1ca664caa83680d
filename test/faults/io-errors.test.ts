/**
 * A disk that refuses: each write, truncate, fsync, rename and unlink of a session fails, once or from then
 * on. The client is told ok only if its messages are gone; what is not done is undone or finished later.
 */
import { expect, test } from 'vitest';
import { FULL } from './built.js';
import { type RunOptions, runSession } from './child.js';
import { allowed, imageOf, recoverAndJudge } from './recovered.js';
import { DELETIONS, Scratch, without } from './scratch.js';
import { inParallel, type Point, pointsOf, Tally } from './sweep.js';
import { NO_TRACER } from './traced.js';

/** Calls of each thread that changes the disk: the main one makes and removes the dotlock. */
const CALLS = {
  io: 'fsync,ftruncate,pwrite64,unlink,rename,mkdir,utimensat',
  main: 'link,unlink,rename,fchmod',
};
const ERRORS = FULL ? ['EIO', 'ENOSPC', 'EDQUOT', 'EFBIG', 'EINTR'] : ['EIO', 'ENOSPC'];
const CASES = (FULL ? [...DELETIONS.keys()] : ['first', 'last', 'alternate']).flatMap(name => {
  const marks = DELETIONS.get(name) ?? [];
  const first = { name: `${name}, no journal before`, marks, journal: false };
  const again = { name: `${name}, a journal before`, marks, journal: true };
  return FULL || name === 'alternate' ? [first, again] : [first];
});

const WAYS = ERRORS.flatMap(error => (['io', 'main'] as const).map(thread => ({ error, thread })));

test.skipIf(NO_TRACER).each(WAYS)(
  '$error at each call of the $thread thread: ok means gone, err as it was or to be done',
  async ({ error, thread }) => {
    const sum = new Tally();
    await inParallel(CASES, async ({ name, marks, journal }) => {
      const scratch = new Scratch();
      const run = async (at?: Point, persisting = '') => {
        const inject = at === undefined ? [] : [`inject=${at.call}:error=${error}:when=${at.k}${persisting}`];
        const { end, trace, complaints } = await refuse(scratch, marks, journal, {
          strace: [`trace=${CALLS[thread]}`, ...inject],
          thread,
        });
        if (at !== undefined && !trace.includes('(INJECTED)')) complaints.push('nothing was refused');
        sum.add(end, `${at?.call} ${at?.k}${persisting}, ${name} deleted`, complaints);
        return trace;
      };
      try {
        for (const point of pointsOf(await run())) {
          await run(point);
          // EINTR at every call from then on would be asked again for ever: no signal comes that often.
          if (error !== 'EINTR') await run(point, '+');
        }
      } finally {
        scratch.remove();
      }
    });
    sum.print(`${error} at each call of the ${thread} thread`);
    expect(sum.violations).toEqual([]);
  },
);

/** One session over a disk that refuses; then the disk is well again, and the next session comes. */
async function refuse(
  scratch: Scratch,
  marks: readonly number[],
  journal: boolean,
  how: Pick<RunOptions, 'strace' | 'thread'>,
) {
  scratch.reset(journal);
  const images = allowed(without(marks), '');
  const { said, text, trace } = await runSession(scratch, { marks, ...how });
  const now = scratch.content();
  const committed = scratch.hasJournal();
  const { image, complaints } = await recoverAndJudge(scratch, images, said);
  if (said === undefined) complaints.push('the client was told nothing');
  if (said === 'ok' && now !== images.after) complaints.push('ok was said before it was true');
  if (said === 'err' && !committed && imageOf(now, images) === 'neither') {
    complaints.push('a changed mailbox without a journal');
  }
  return { end: `told ${said}, ${image}`, trace, complaints: complaints.map(each => `${each} (${text})`) };
}

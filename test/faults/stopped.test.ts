/**
 * SIGSTOP at each system call of a session, for so long that another program takes our dotlock for
 * abandoned: it removes it, or takes its place for good or for a while, and appends to the mailbox, rewrites
 * it or puts another file there, all without a look at our fcntl lock. Then SIGCONT: nothing may be lost;
 * and where we had not begun to write, nothing doubled either, and nothing written at all under a lock that
 * is not ours.
 */
import { appendFileSync, existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { FULL } from './built.js';
import { runSession } from './child.js';
import { openHere } from './recovered.js';
import { DELETIONS, LONG_DELIVERY, MESSAGES, OLD, Scratch, without } from './scratch.js';
import { inParallel, type Point, pointsOf, Tally } from './sweep.js';
import { NO_TRACER } from './traced.js';

/** Calls that change a disk, and the reads before them. */
const CALLS = 'pwrite64,ftruncate,fsync,rename,unlink,pread64';

/** What becomes of our lock: nobody holds one, another program does, or did for a moment. */
const LOCKS = ['removed', 'held by another', 'taken and given back'] as const;
type Lock = (typeof LOCKS)[number];
const CHANGES = ['untouched', 'appended to', 'rewritten', 'replaced'] as const;
type Change = (typeof CHANGES)[number];

interface Case {
  readonly shape: string;
  readonly lock: Lock;
  readonly change: Change;
}

const CASES: Case[] = (FULL ? [...DELETIONS.keys()] : ['first', 'last', 'alternate']).flatMap(shape =>
  LOCKS.flatMap(lock => CHANGES.map(change => ({ shape, lock, change }))),
);
/** All of them for one shape, and two for the others. */
const SOME = CASES.filter(
  ({ shape, lock, change }) =>
    shape === 'first' ||
    (lock === 'held by another' && change === 'appended to') ||
    (lock === 'taken and given back' && change === 'rewritten'),
);

/** The other program. @returns the mailbox as it leaves it */
function interfere({ lock, change }: Case, scratch: Scratch): string {
  const dotlock = `${scratch.mailbox}.lock`;
  rmSync(dotlock, { force: true });
  if (lock !== 'removed') writeFileSync(dotlock, `${process.pid}\n`, { flag: 'wx' });
  const content = scratch.content();
  switch (change) {
    case 'untouched':
      break;
    case 'appended to':
      appendFileSync(scratch.mailbox, LONG_DELIVERY);
      break;
    case 'rewritten':
      writeFileSync(scratch.mailbox, seen(content));
      break;
    case 'replaced':
      writeFileSync(`${scratch.mailbox}.new`, seen(content), { mode: 0o600 });
      renameSync(`${scratch.mailbox}.new`, scratch.mailbox);
  }
  if (lock === 'taken and given back') rmSync(dotlock);
  return scratch.content();
}

/** As a mail reader leaves it: message 2 was read. */
function seen(content: string): string {
  return content.replace('\nSubject: message 2\n', '\nStatus: RO\nSubject: message 2\n');
}

/** A mailbox without the marked messages, as far as they are in it. */
function minus(content: string, marks: readonly number[]): string {
  return marks.reduce((rest, n) => rest.replace(MESSAGES[n - 1]!, ''), content);
}

test.skipIf(NO_TRACER)('SIGSTOP at each call, the dotlock broken: nothing is lost or doubled', async () => {
  const sum = new Tally();
  await inParallel(FULL ? CASES : SOME, async one => {
    const marks = DELETIONS.get(one.shape) ?? [];
    for (const journal of FULL ? [false, true] : [false]) {
      const scratch = new Scratch();
      try {
        scratch.reset(journal);
        const { trace } = await runSession(scratch, { marks, strace: [`trace=${CALLS}`] });
        for (const at of pointsOf(trace)) {
          const { end, complaints } = await stoppedAt(at, one, marks, journal);
          sum.add(
            end,
            `${at.call} ${at.k}, ${one.shape} deleted, ${journal ? 'a' : 'no'} journal before, lock ${one.lock}, mailbox ${one.change}`,
            complaints,
          );
        }
      } finally {
        scratch.remove();
      }
    }
  });
  sum.print('SIGSTOP at each call, the dotlock broken');
  expect(sum.violations).toEqual([]);
});

/** One session, stopped once; what the next login finds, and what is wrong with it. */
async function stoppedAt(at: Point, one: Case, marks: readonly number[], journal: boolean) {
  const scratch = new Scratch();
  const dotlock = `${scratch.mailbox}.lock`;
  const complaints: string[] = [];
  try {
    scratch.reset(journal);
    let found: string | undefined;
    let left = '';
    const outcome = await runSession(scratch, {
      marks,
      strace: [`trace=${CALLS}`, `inject=${at.call}:signal=STOP:when=${at.k}`],
      whileStopped: () => {
        found = scratch.content();
        left = interfere(one, scratch);
      },
    });
    if (found === undefined) return { end: 'not stopped', complaints };
    const begun = found !== OLD;
    const done = found === without(marks);
    if (one.lock === 'held by another') {
      if (!existsSync(dotlock)) complaints.push('the lock of another program was removed');
      if (scratch.content() !== left && !begun)
        complaints.push('written to under the lock of another program');
      rmSync(dotlock, { force: true });
    }
    if (outcome.said === 'err' && !begun && scratch.content() !== left) {
      complaints.push('the client was told that nothing is deleted, and the mailbox was written to');
    }
    await (await openHere(scratch)).release();
    const content = scratch.content();
    if (!begun || done) {
      // `done`: whatever the other program made of it stays.
      const deleted = done ? left : minus(left, marks);
      const fine = content === deleted || (!done && outcome.said !== 'ok' && content === left);
      if (!fine)
        complaints.push(
          `said ${outcome.text}; neither as the other program left it nor that without the marked: ${describe(content)}`,
        );
    }
    for (const [i, text] of MESSAGES.entries()) {
      if (!marks.includes(i + 1) && !content.includes(text) && !content.includes(seen(text)))
        complaints.push(`message ${i + 1} is lost`);
    }
    if (one.change === 'appended to' && !content.includes(LONG_DELIVERY))
      complaints.push('the delivery is lost');
    const doubled = content.split('\nSubject: message ').length - 1 > MESSAGES.length + 1;
    const state = done ? 'after UPDATE' : begun ? 'in UPDATE' : 'before the first write';
    return { end: `${state}: told ${outcome.said ?? 'nothing'}${doubled ? ', doubled' : ''}`, complaints };
  } finally {
    scratch.remove();
  }
}

function describe(content: string): string {
  return [...content.matchAll(/^Subject: message (\S+)/gm)].map(([, id]) => id).join(' ');
}

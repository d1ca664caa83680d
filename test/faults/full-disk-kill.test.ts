/**
 * SIGKILL at each system call of an UPDATE on a disk without a free page, which goes by its plan, and within
 * the recovery from that, which has no free page either: all is deleted or nothing.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scratchDir } from '../support/mailbox.js';
import { FULL } from './built.js';
import { runSession } from './child.js';
import { allowed, recoverAndJudge } from './recovered.js';
import {
  DELETIONS,
  type DiskImage,
  LONG_DELIVERY,
  PLAN_OCTETS,
  Scratch,
  SHORT_DELIVERY,
  without,
} from './scratch.js';
import { PAGE, SmallDisk } from './small-disk.js';
import { type Point, pointsOf, Tally } from './sweep.js';
import { NO_TRACER } from './traced.js';

const CALLS = 'pwrite64,ftruncate,fsync,rename,unlink,mkdir,utimensat';
const disk = SmallDisk.mount();

/** The smaller plan journal moves the mailbox in more steps. */
const CASES = [
  { name: 'middle', octets: PAGE, delivery: LONG_DELIVERY },
  { name: 'alternate', octets: PLAN_OCTETS, delivery: SHORT_DELIVERY },
  ...(FULL
    ? ['first', 'alternate', 'all but one'].map(name => ({ name, octets: PAGE, delivery: LONG_DELIVERY }))
    : []),
];

test.skipIf(disk === undefined || NO_TRACER).each(CASES)(
  '$name deleted by a plan of $octets octets',
  async ({ name, octets, delivery }) => {
    const marks = DELETIONS.get(name) ?? [];
    const sum = new Tally();
    const scratch = new Scratch(join(disk!.dir, name));
    const traceFile = join(scratchDir(), 'trace');
    // What goes on from a disk image, which is full but for a delivery, up to `point` or to the end.
    const run = async (
      start: DiskImage,
      marked: readonly number[],
      mail: string,
      point?: Point,
      earlier = '',
    ) => {
      disk?.enlarge();
      scratch.restore(start);
      disk?.fill();
      expect(disk?.isFull()).toBe(true);
      const kill = point === undefined ? [] : [`inject=${point.call}:signal=KILL:when=${point.k}`];
      const outcome = await runSession(scratch, {
        marks: marked,
        strace: [`trace=${CALLS}`, ...kill],
        traceFile,
      });
      disk?.enlarge();
      // A dotlock without a pid, for which there was no room, is stale after five minutes only.
      rmSync(`${scratch.mailbox}.lock`, { force: true });
      scratch.deliver(mail);
      const crashed = scratch.image();
      const hadPlan = scratch.hasPlan();
      disk?.fill();
      const images = allowed(without(marks), earlier + mail);
      const { image, complaints } = await recoverAndJudge(scratch, images, outcome.said);
      if (point === undefined && outcome.said !== 'ok')
        complaints.push(`not killed, and yet: ${outcome.text}`);
      if (point !== undefined && !outcome.killed) complaints.push('not killed');
      const where = point === undefined ? 'not killed' : `killed at ${point.call} ${point.k}`;
      sum.add(`${hadPlan ? 'with a plan, ' : ''}${image}`, where, complaints);
      return { trace: outcome.trace, crashed, hadPlan };
    };
    try {
      // The session lock has its page, as on another file system.
      await runSession(scratch, { marks: [] });
      scratch.reset(true);
      mkdirSync(join(scratch.stateDir, 'alice'), { recursive: true });
      writeFileSync(join(scratch.stateDir, 'alice', 'journal.plan'), Buffer.alloc(octets));
      const start = scratch.image();
      const { trace } = await run(start, marks, delivery);
      expect(trace).toContain('ENOSPC');
      for (const [i, point] of pointsOf(trace).entries()) {
        const mail = i % 2 === 0 ? delivery : '';
        const { crashed, hadPlan } = await run(start, marks, mail, point);
        // Within the recovery from some of them.
        if (!hadPlan || (!FULL && i % 10 !== 0)) continue;
        const again = await run(crashed, [], '', undefined, mail);
        for (const second of pointsOf(again.trace).filter((_, k) => FULL || k % 4 === 0)) {
          await run(crashed, [], '', second, mail);
        }
      }
    } finally {
      disk?.enlarge();
      scratch.remove();
    }
    sum.print(`full disk, SIGKILL at each ${CALLS}, ${name} deleted`);
    expect(sum.violations).toEqual([]);
  },
);

/**
 * `mbox-pop3d recover`, and the same at the start of `serve`, after a real crash: what it does, what it
 * says, how it ends; killed itself; and what is left alone because another program was there first.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type Finished, IS_ROOT, launch, run } from '../support/program.js';
import { DIST, FULL } from './built.js';
import { runSession } from './child.js';
import { LONG_DELIVERY, MESSAGES, OLD, Scratch, SHORT_DELIVERY, without } from './scratch.js';
import { type Point, pointsOf } from './sweep.js';
import { NO_TRACER } from './traced.js';

const program = join(DIST, 'bin', 'mbox-pop3d.js');
/** Who owns the mailbox: root never has one. */
const NOBODY = IS_ROOT ? { uid: 65534, gid: 65534 } : undefined;
const MARKS = [1, 4];
const NEW = without(MARKS);
const FINISHED = 'alice: interrupted update finished\n';
const NOTHING = 'no interrupted update\n';

/** Points of UPDATE: before anything of the mailbox is written, amid it, before the cut, after it. */
const CRASHES = {
  'before the mailbox is written': 'inject=fsync:signal=KILL:when=1',
  'when it is written, not yet synced': 'inject=fsync:signal=KILL:when=2',
  'before the cut': 'inject=ftruncate:signal=KILL:when=3',
  'after the cut': 'inject=fsync:signal=KILL:when=4',
};

/** A spool in which an UPDATE was killed. */
async function crashed(when: keyof typeof CRASHES = 'before the cut'): Promise<Scratch> {
  const scratch = new Scratch();
  onTestFinished(() => scratch.remove());
  scratch.reset(true);
  if (NOBODY !== undefined) scratch.giveTo(NOBODY);
  const strace = ['trace=pwrite64,fsync,ftruncate', CRASHES[when]];
  const { killed } = await runSession(scratch, { marks: MARKS, strace, become: NOBODY });
  expect([killed, scratch.hasJournal()], when).toEqual([true, true]);
  return scratch;
}

/** The flags of `serve` and `recover`. */
function flagsOf(scratch: Scratch): string[] {
  const users = join(scratch.root, 'users');
  writeFileSync(users, `alice:{PLAIN}secret:${NOBODY?.uid ?? ''}:${NOBODY?.gid ?? ''}\n`, { mode: 0o600 });
  const identity = IS_ROOT ? ['--user', 'nobody', '--group', 'nogroup'] : [];
  return ['--spool', scratch.dir, '--users', users, '--state-dir', scratch.stateDir, ...identity];
}

function recover(
  scratch: Scratch,
  args: readonly string[] = [],
  wrapper: readonly string[] = [],
): Promise<Finished> {
  return run(['recover', ...flagsOf(scratch), '--lock-timeout', '0', ...args], { program, wrapper });
}

test.skipIf(NO_TRACER).each(Object.keys(CRASHES) as (keyof typeof CRASHES)[])(
  'killed %s: recover finishes it, once',
  async when => {
    const scratch = await crashed(when);
    scratch.deliver(LONG_DELIVERY);
    const first = await recover(scratch);
    expect([first.code, first.stdout]).toEqual([0, FINISHED]);
    expect(first.stderr).toContain('update-recovered user=alice');
    expect(scratch.content()).toBe(NEW + LONG_DELIVERY);
    expect(scratch.sameFile()).toBe(true);
    expect(scratch.beside()).toEqual([]);
    const again = await recover(scratch);
    expect([again.code, again.stdout]).toEqual([0, NOTHING]);
  },
);

test.skipIf(NO_TRACER)('named users: each is reported; a name that is none is a mistake', async () => {
  const scratch = await crashed();
  const named = await recover(scratch, ['alice', 'bob']);
  expect([named.code, named.stdout]).toEqual([0, `${FINISHED}bob: ${NOTHING}`]);
  const wrong = await recover(scratch, ['../alice']);
  expect(wrong.code).toBe(64);
  expect(wrong.stderr).toContain('not a user name');
});

test.skipIf(NO_TRACER)('nothing to do: says so, and makes nothing', async () => {
  const scratch = new Scratch();
  onTestFinished(() => scratch.remove());
  if (NOBODY !== undefined) scratch.giveTo(NOBODY);
  const { code, stdout } = await recover(scratch);
  expect([code, stdout, scratch.content(), scratch.beside()]).toEqual([0, NOTHING, OLD, []]);
});

test.skipIf(NO_TRACER)('killed at each call, recover is done by the next one', async () => {
  const calls = 'pwrite64,ftruncate,fsync,rename';
  const scratch = await crashed('when it is written, not yet synced');
  scratch.deliver(SHORT_DELIVERY);
  const start = scratch.image();
  const traced = (extra: readonly string[]) => {
    const trace = join(scratch.root, 'recover.trace');
    return ['strace', '-f', '-o', trace, '-E', 'UV_THREADPOOL_SIZE=1', '-e', `trace=${calls}`, ...extra];
  };
  const owned = () => {
    scratch.restore(start);
    if (NOBODY !== undefined) scratch.giveTo(NOBODY);
  };
  owned();
  expect((await recover(scratch, [], traced([]))).code).toBe(0);
  // Each thread counts by itself: what one of them does K times is hit at the first that gets there.
  const points = new Map<string, Point>();
  const lines = readFileSync(join(scratch.root, 'recover.trace'), 'latin1').split('\n');
  for (const thread of new Set(lines.map(line => line.split(' ', 1)[0]))) {
    const own = lines
      .filter(line => line.startsWith(`${thread} `))
      .map(line => line.replace(/^[0-9]+ +/, ''));
    for (const point of pointsOf(own.join('\n'))) points.set(`${point.call} ${point.k}`, point);
  }
  expect(points.size).toBeGreaterThan(10);
  for (const [i, [where, { call, k }]] of [...points].entries()) {
    if (!FULL && i % 2 === 1) continue;
    owned();
    const { code } = await recover(scratch, [], traced(['-e', `inject=${call}:signal=KILL:when=${k}`]));
    expect(code, where).not.toBe(0);
    expect((await recover(scratch)).code, where).toBe(0);
    expect(scratch.content() === NEW + SHORT_DELIVERY, where).toBe(true);
  }
});

test.skipIf(NO_TRACER)(
  'rewritten by a mail reader since: nothing is overwritten, what is missing comes back, the journal is kept',
  async () => {
    const scratch = await crashed('before the mailbox is written');
    const journal = readFileSync(join(scratch.stateDir, 'alice', 'journal'));
    // The reader marks message 3 as seen and drops messages 2 and 8.
    const read = MESSAGES[2]!.replace('\nSubject:', '\nStatus: RO\nSubject:');
    const foreign = [MESSAGES[0], read, ...MESSAGES.slice(3, 7)].join('');
    scratch.reuse(foreign);
    scratch.deliver(SHORT_DELIVERY);
    const { code, stdout, stderr } = await recover(scratch);
    const aside = join(scratch.stateDir, 'alice', 'journal.conflict');
    expect(stdout).toContain(`alice: journal kept as ${aside}: `);
    expect(stdout).toContain('2 messages added to the mailbox');
    expect(stderr).toContain(`journal-set-aside user=alice path=${aside}`);
    expect(code).toBe(0);
    expect(scratch.content()).toBe(foreign + SHORT_DELIVERY + MESSAGES[1] + MESSAGES[7]);
    expect(readFileSync(aside).equals(journal)).toBe(true);
    expect((await recover(scratch)).stdout).toBe(NOTHING);
  },
);

test.skipIf(NO_TRACER)('the mailbox is away: the journal is kept, and finished when it is back', async () => {
  const scratch = await crashed();
  const journal = join(scratch.stateDir, 'alice', 'journal');
  const before = readFileSync(journal);
  const away = `${scratch.mailbox}-away`;
  renameSync(scratch.mailbox, away);
  const { code, stdout, stderr } = await recover(scratch);
  expect(stdout).toBe(`alice: not finished, journal ${journal} kept: the mailbox file is not there\n`);
  expect(stderr).toContain(`journal-kept user=alice path=${journal} `);
  expect(code).toBe(75);
  expect([existsSync(scratch.mailbox), readFileSync(journal).equals(before)]).toEqual([false, true]);
  renameSync(away, scratch.mailbox);
  expect((await recover(scratch)).stdout).toBe(FINISHED);
  expect(scratch.content()).toBe(NEW);
});

test.skipIf(NO_TRACER)('a journal that was never one: kept aside, the mailbox untouched', async () => {
  const scratch = await crashed('before the mailbox is written');
  const journal = join(scratch.stateDir, 'alice', 'journal');
  const damaged = readFileSync(journal);
  damaged[5000] = (damaged[5000] ?? 0) ^ 1;
  writeFileSync(journal, damaged);
  const { stdout } = await recover(scratch);
  expect(stdout).toContain('journal.torn: ');
  expect(scratch.content()).toBe(OLD);
});

test.skipIf(NO_TRACER)('locked by another program: not recovered now, and said so', async () => {
  const scratch = await crashed();
  writeFileSync(`${scratch.mailbox}.lock`, `${process.pid}:${hostname()}\n`);
  const before = scratch.image();
  const { code, stdout, stderr } = await recover(scratch);
  expect(code).toBe(75);
  expect(stdout).toMatch(/^alice: not recovered: mailbox is locked by another program/);
  expect(stderr).toContain('1 of 1 not recovered');
  expect(scratch.image()).toEqual(before);
});

test.skipIf(NO_TRACER)('serve finishes it when it starts, without a login', async () => {
  const scratch = await crashed();
  scratch.deliver(SHORT_DELIVERY);
  const server = launch(['serve', '--listen', '127.0.0.1:0', ...flagsOf(scratch)], { program });
  await server.port();
  await server.logged(/update-recovered user=alice/);
  expect(scratch.content()).toBe(NEW + SHORT_DELIVERY);
  expect(await server.stop()).toBe(0);
});

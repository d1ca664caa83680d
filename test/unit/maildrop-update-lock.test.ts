/**
 * What the dotlock says while a mailbox file is half done, so that no other program takes it for that of a dead process
 * and shows, or rewrites, what is there then; and who may take it over.
 */
import {
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadHost } from '../../lib/host/load.js';
import { nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';
import { Journal } from '../../lib/maildrop/journal.js';
import { readLine, updateIdOf } from '../../lib/maildrop/lock-line.js';
import type { LockMethod } from '../../lib/maildrop/locks.js';
import { PlanJournal } from '../../lib/maildrop/plan-journal.js';
import { openRecoveryLock } from '../../lib/maildrop/recovery-lock.js';
import { holdsUpdate } from '../../lib/maildrop/update-locks.js';
import { failure } from '../support/appending.js';
import { message, type Spool, spoolWith } from '../support/mailbox.js';
import { mailSpool, openAlice } from '../support/maildrop.js';

const [M1, M2, M3] = [message(1), message(2), message(3, 'text\n'.repeat(500))] as const;
const OLD = M1 + M2 + M3;
const OURS = `${process.pid}:${hostname()}\n`;

const lockOf = (spool: Spool) => `${spool.mailbox}.lock`;
const said = (spool: Spool) => readFileSync(lockOf(spool), 'latin1');
const beside = (spool: Spool) => readdirSync(spool.dir).filter(name => name !== 'alice');

/** Calls that change the mailbox file. */
type Change = 'write' | 'truncate' | 'sync';

/** The real disk; `seen` is told before each change of the mailbox file, and what it throws is what the call says. */
function watched(spool: Spool, seen: (change: Change) => void | Promise<void>): SpoolIo {
  const fds = new Set<number>();
  const told =
    <A extends [fd: number, ...rest: unknown[]], R>(change: Change, call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (fds.has(args[0])) await seen(change);
      return call(...args);
    };
  return {
    ...nodeIo,
    open: async (path, ...rest) => {
      const fd = await nodeIo.open(path, ...rest);
      if (path === spool.mailbox) fds.add(fd);
      else fds.delete(fd);
      return fd;
    },
    write: told('write', nodeIo.write),
    truncate: told('truncate', nodeIo.truncate),
    sync: told('sync', nodeIo.sync),
  };
}

/** Whether the lock says what whoever has the journals, and nobody else, knows to be interrupted. */
async function namesOurJournal(spool: Spool): Promise<boolean> {
  const place = {
    io: nodeIo,
    dir: join(spool.stateDir, 'alice'),
    owner: process.geteuid!(),
    dirIsGiven: true,
  };
  const journals = { redo: new Journal(place), plan: new PlanJournal(place) };
  try {
    return await holdsUpdate(journals, readLine(said(spool).trimEnd()).updates);
  } finally {
    await journals.redo.close().finally(() => journals.plan.close());
  }
}

/** An UPDATE that deletes the second of three messages and fails where `seen` throws. */
async function failing(spool: Spool, seen: (change: Change) => void): Promise<void> {
  const maildrop = await openAlice(spool, { io: watched(spool, seen) });
  await maildrop.mark(2);
  await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
}

const beforeCut = (change: Change) => {
  if (change === 'truncate') throw failure('EIO');
};

test.each([
  ['by the journal', () => {}],
  [
    'by a plan',
    () => {
      throw failure('ENOSPC');
    },
  ],
])('names an UPDATE of a journal of ours at each change of the mailbox file: %s', async (_how, atJournal) => {
  const spool = spoolWith(OLD);
  const seen: (readonly [Change, string, boolean])[] = [];
  const io = watched(spool, async change => {
    seen.push([change, said(spool), await namesOurJournal(spool)]);
  });
  const { write } = io;
  const journal = join(spool.stateDir, 'alice/journal');
  const maildrop = await openAlice(spool, {
    io: {
      ...io,
      write: async (fd, ...rest) => {
        if (statSync(journal, { throwIfNoEntry: false })?.ino === statSync(`/proc/self/fd/${fd}`).ino)
          atJournal();
        return write(fd, ...rest);
      },
    },
  });
  await maildrop.mark(2);
  expect(said(spool)).toBe(OURS);
  await maildrop.update();
  expect(spool.content()).toBe(M1 + M3);
  const half = seen.slice(seen.findIndex(([, line]) => line !== OURS));
  expect(half.map(([change]) => change)).toContain('truncate');
  expect(half.filter(([, line, ours]) => !/^mbox-pop3d UPDATE [0-9a-f]{32}\n$/.test(line) || !ours)).toEqual(
    [],
  );
  // Before the plan is committed one octet is written over itself.
  expect(seen.length - half.length).toBeLessThanOrEqual(1);
  expect(beside(spool)).toEqual([]);
});

test('is left alone by one that cuts off the last messages', async () => {
  const spool = spoolWith(OLD);
  const seen: string[] = [];
  const maildrop = await openAlice(spool, { io: watched(spool, () => void seen.push(said(spool))) });
  await maildrop.mark(3);
  await maildrop.update();
  expect(seen).toEqual([OURS, OURS]);
});

test('stays when the mailbox file is left half done, and is taken over by the next login as it is', async () => {
  const spool = spoolWith(OLD);
  await failing(spool, beforeCut);
  expect(spool.content()).not.toBe(OLD);
  expect(await namesOurJournal(spool)).toBe(true);
  const { ino } = lstatSync(lockOf(spool));

  const seen: boolean[] = [];
  const io = watched(spool, async () => void seen.push(await namesOurJournal(spool)));
  const maildrop = await openAlice(spool, { io, lockTimeout: 0 });
  expect(seen.length).toBeGreaterThan(1);
  expect(seen).not.toContain(false);
  // The session goes on, and can be killed like any other.
  expect([lstatSync(lockOf(spool)).ino, said(spool)]).toEqual([ino, OURS]);
  expect(maildrop.messages).toBe(2);
  await maildrop.release();
  expect([spool.content(), beside(spool)]).toEqual([M1 + M3, []]);
});

test('names both while recovery replaces the journal, with mail that came behind the old end', async () => {
  const spool = spoolWith(OLD);
  await failing(spool, beforeCut);
  writeFileSync(spool.mailbox, message(4), { flag: 'a' });
  const lines: number[] = [];
  const io = watched(spool, async () => {
    expect(await namesOurJournal(spool)).toBe(true);
    lines.push(readLine(said(spool).trimEnd()).updates.length);
  });
  await (await openAlice(spool, { io, lockTimeout: 0 })).release();
  expect([...new Set(lines)]).toEqual([1, 2]);
  expect(spool.content()).toBe(M1 + M3 + message(4));
});

test.each([
  ['another UPDATE', () => `mbox-pop3d UPDATE ${updateIdOf(Buffer.alloc(16))}\n`],
  ['something else', (line: string) => line.replace('UPDATE', 'MOVE')],
  ['nothing', () => ''],
])('is not taken over when it names %s: by age only', async (_what, change) => {
  const spool = spoolWith(OLD);
  await failing(spool, beforeCut);
  const half = spool.content();
  writeFileSync(lockOf(spool), change(said(spool)));
  await expect(openAlice(spool, { lockTimeout: 0 })).rejects.toMatchObject({ code: 'IN-USE' });
  expect(spool.content()).toBe(half);
});

test('is not taken over, nor anything recovered, while a session has the mailbox', async () => {
  const spool = spoolWith(OLD);
  await failing(spool, beforeCut);
  const half = spool.content();
  const { host } = await loadHost();
  const session = openRecoveryLock({ host, dir: spool.runtimeDir, perUser: false }, spool.mailbox)();
  const line = said(spool);
  expect(await (await mailSpool(spool)).recover({ user: 'alice' })).toEqual({ did: 'in-use' });
  expect([spool.content(), said(spool)]).toEqual([half, line]);
  session?.();
  expect(await (await mailSpool(spool)).recover({ user: 'alice' })).toEqual({ did: 'finished' });
  expect([spool.content(), beside(spool)]).toEqual([M1 + M3, []]);
});

test.each([
  ['for all', false],
  ['per user', true],
])('a descriptor that was for that lock is not taken for it again: %s', async (_model, perUser) => {
  const spool = spoolWith(OLD);
  const { host } = await loadHost();
  const place = { host, dir: spool.runtimeDir, perUser };
  const endSession = openRecoveryLock(place, spool.mailbox)();
  const tryLock = openRecoveryLock(place, spool.mailbox);
  expect(tryLock()).toBeUndefined();
  endSession?.();
  // Among them is the number that was free.
  const fds = Array.from({ length: 20 }, () => openSync(spool.mailbox, 'r+'));
  expect(tryLock()).toBeUndefined();
  expect(spool.content()).toBe(OLD);
  for (const fd of fds) closeSync(fd);
});

test('is not taken over while another program has the mailbox locked by fcntl', async () => {
  const spool = spoolWith(OLD);
  await failing(spool, beforeCut);
  const { host } = await loadHost();
  const fd = await nodeIo.open(spool.mailbox, 2);
  expect(host.lockOpenFile(fd, 'write')).toBe(true);
  await expect(openAlice(spool, { lockTimeout: 0 })).rejects.toMatchObject({ code: 'IN-USE' });
  await nodeIo.close(fd);
  const maildrop = await openAlice(spool, { lockTimeout: 0 });
  expect(maildrop.messages).toBe(2);
  await maildrop.release();
});

test.each([['dotlock'], ['dotlock,fcntl']])(
  'is not taken over while its server lives, even if somebody has removed the session locks: %s',
  async methods => {
    const locks = methods.split(',') as LockMethod[];
    const spool = spoolWith(OLD);
    let half: () => void = () => {};
    const isHalf = new Promise<void>(resolve => {
      half = resolve;
    });
    let goOn: () => void = () => {};
    const waited = new Promise<void>(resolve => {
      goOn = resolve;
    });
    const io = watched(spool, async change => {
      if (change !== 'truncate') return;
      half();
      await waited;
    });
    const maildrop = await openAlice(spool, { io, locks });
    await maildrop.mark(2);
    const updated = maildrop.update();
    await isHalf;
    for (const name of readdirSync(spool.runtimeDir)) rmSync(join(spool.runtimeDir, name));
    await expect(openAlice(spool, { locks, lockTimeout: 0 })).rejects.toMatchObject({ code: 'IN-USE' });
    goOn();
    await updated;
    expect([spool.content(), beside(spool)]).toEqual([M1 + M3, []]);
  },
);

test('who logs in while an interrupted UPDATE is being finished waits for that', async () => {
  const spool = spoolWith(OLD);
  await failing(spool, beforeCut);
  let goOn: () => void = () => {};
  const waited = new Promise<void>(resolve => {
    goOn = resolve;
  });
  let begin: () => void = () => {};
  const begun = new Promise<void>(resolve => {
    begin = resolve;
  });
  const io = watched(spool, () => {
    begin();
    return waited;
  });
  const report = (await mailSpool(spool, { io })).recover({ user: 'alice' });
  await begun;
  const login = openAlice(spool);
  await new Promise(resolve => setTimeout(resolve, 100));
  goOn();
  expect(await report).toEqual({ did: 'finished' });
  const maildrop = await login;
  expect(maildrop.messages).toBe(2);
  await maildrop.release();
});

test('of two who wait for that, the second is told that the first is there', async () => {
  const spool = spoolWith(OLD);
  const { host } = await loadHost();
  const recovered = openRecoveryLock({ host, dir: spool.runtimeDir, perUser: false }, spool.mailbox)();
  const logins = [openAlice(spool), openAlice(spool)];
  const refused = Promise.any(
    logins.map(async login =>
      login.then(
        () => Promise.reject(),
        error => error,
      ),
    ),
  );
  await new Promise(resolve => setTimeout(resolve, 50));
  recovered?.();
  const maildrop = await Promise.any(logins);
  expect(await refused).toMatchObject({ message: expect.stringContaining('another POP3 session since') });
  await maildrop.release();
});

test('a recovery that fails, too, leaves it as old as it was, and the next one that does not takes it away', async () => {
  const spool = spoolWith(OLD);
  await failing(spool, beforeCut);
  const before = new Date(Date.now() - 100_000);
  utimesSync(lockOf(spool), before, before);
  const line = said(spool);
  const failingAgain = openAlice(spool, { io: watched(spool, beforeCut) });
  await expect(failingAgain).rejects.toMatchObject({ code: 'SYS/TEMP' });
  expect(said(spool)).toBe(line);
  expect(Math.round(statSync(lockOf(spool)).mtimeMs / 1000)).toBe(Math.round(before.getTime() / 1000));
  await (await openAlice(spool)).release();
  expect([spool.content(), beside(spool)]).toEqual([M1 + M3, []]);
});

test('an UPDATE that fails before it has written anything leaves no lock', async () => {
  const spool = spoolWith(OLD);
  const journal = join(spool.stateDir, 'alice/journal');
  const maildrop = await openAlice(spool, {
    io: {
      ...nodeIo,
      sync: async fd => {
        if (readFileSync(journal).length > 0) throw failure('EIO');
        return nodeIo.sync(fd);
      },
    },
  });
  await maildrop.mark(2);
  await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
  expect([spool.content(), beside(spool)]).toEqual([OLD, []]);
});

test('the refusal says so', async () => {
  const spool = spoolWith(OLD);
  writeFileSync(lockOf(spool), `mbox-pop3d UPDATE ${'0'.repeat(32)}\n`);
  await expect(openAlice(spool, { lockTimeout: 0 })).rejects.toMatchObject({
    message: expect.stringContaining('of an update that goes on or was interrupted'),
  });
});

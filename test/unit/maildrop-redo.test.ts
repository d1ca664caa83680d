/**
 * A crash between any two calls of an UPDATE, by an I/O interface that does nothing more after the K-th
 * call: the next opening finishes it. The mailbox is longer than one write, and no write of it may leave
 * a sector that is half old and half new.
 */
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';
import { MOVE_CHUNK } from '../../lib/maildrop/ranges.js';
import { message, messages, type Spool, spoolWith } from '../support/mailbox.js';
import { openAlice } from '../support/maildrop.js';
import { meteredIo } from '../support/metered-io.js';

/** Calls that change something. */
const CHANGES = ['write', 'truncate', 'sync', 'rename', 'unlink', 'mkdir', 'setTimes'] as const;

/** The real disk up to the `last`-th change; from then on every change fails, as if the process were gone. */
function ioUntil(last: number): { io: SpoolIo; changes: () => number } {
  let changes = 0;
  const alive =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (++changes > last) throw new Error('crashed');
      return call(...args);
    };
  const io = { ...nodeIo };
  for (const name of CHANGES) Object.assign(io, { [name]: alive(nodeIo[name] as () => Promise<unknown>) });
  return { io, changes: () => changes };
}

test.each([
  { what: 'small messages', content: messages(9), deleted: [1, 4] },
  {
    what: 'messages longer than a write',
    content: [message('a'), message('b', 'long line\n'.repeat(MOVE_CHUNK / 8)), message('c'), message('d')],
    deleted: [1, 3],
  },
])('a crash at any call of an UPDATE of $what is made good', async ({ content, deleted }) => {
  const old = content.join('');
  const kept = content.filter((_, i) => !deleted.includes(i + 1)).join('');
  for (let last = 0, crashed = true; crashed; last++) {
    const spool = spoolWith(old);
    const { io, changes } = ioUntil(last);
    const session = await openAlice(spool, { io }).catch(() => undefined);
    for (const n of session === undefined ? [] : deleted) await session?.mark(n);
    const outcome = await session?.update().then(
      () => 'ok',
      () => 'err',
    );
    crashed = changes() > last;

    await (await openAlice(spool)).release();
    const images = outcome === 'ok' ? [kept] : [old, kept];
    expect(images.includes(spool.content()), `crash after change ${last}`).toBe(true);
  }
});

/** The real disk, and the changes asked of it: `sync journal`, `write alice`, ... */
function ioRecorded(): { io: SpoolIo; calls: string[] } {
  const calls: string[] = [];
  const names = new Map<number, string>();
  const named =
    <A extends unknown[], R>(what: string, call: (fd: number, ...args: A) => Promise<R>) =>
    (fd: number, ...args: A): Promise<R> => {
      calls.push(`${what} ${names.get(fd)}`);
      return call(fd, ...args);
    };
  const io: SpoolIo = {
    ...nodeIo,
    open: async (path, flags, mode) => {
      const fd = await nodeIo.open(path, flags, mode);
      names.set(fd, path.includes('/spool/') ? 'mailbox' : basename(path));
      return fd;
    },
    write: named('write', nodeIo.write),
    truncate: named('truncate', nodeIo.truncate),
    sync: named('sync', nodeIo.sync),
    rename: (from, to) => {
      calls.push(`rename ${basename(to)}`);
      return nodeIo.rename(from, to);
    },
  };
  return { io, calls };
}

/** What stands in the journal; `none` when there is none. */
function journalOf(spool: Spool): string {
  const path = join(spool.stateDir, 'alice', 'journal');
  return existsSync(path) ? readFileSync(path, 'latin1') : 'none';
}

/** Where `call` is first, or Infinity. */
const first = (calls: readonly string[], call: string) =>
  calls.includes(call) ? calls.indexOf(call) : Number.POSITIVE_INFINITY;

test('recovery makes durable what it found before it changes anything', async () => {
  // What the killed process wrote may not be on the disk yet when the power fails during recovery.
  const content = messages(9);
  let recovered = 0;
  for (let last = 0, crashed = true; crashed; last++) {
    const spool = spoolWith(content.join(''));
    const { io, changes } = ioUntil(last);
    const session = await openAlice(spool, { io }).catch(() => undefined);
    await session?.mark(1);
    await session?.update().catch(() => undefined);
    crashed = changes() > last;

    // Nothing to recover: it was never complete.
    if (!journalOf(spool).startsWith('mbox-pop3d-jrnl')) continue;
    const second = ioRecorded();
    await (await openAlice(spool, { io: second.io })).release();
    const { calls } = second;
    const change = Math.min(
      ...['write mailbox', 'truncate mailbox', 'truncate journal'].map(call => first(calls, call)),
    );
    if (change === Number.POSITIVE_INFINITY) continue;
    recovered++;
    for (const call of ['sync journal', 'sync alice', 'sync mailbox']) {
      expect(first(calls, call), `${call} of [${calls}] after change ${last}`).toBeLessThan(change);
    }
  }
  expect(recovered).toBeGreaterThan(5);
});

test('a first journal that a crash left unnamed or empty does not pass for one whose name is durable', async () => {
  const content = messages(9);
  for (let last = 0, crashed = true; crashed; last++) {
    const spool = spoolWith(content.join(''));
    const { io, changes } = ioUntil(last);
    const session = await openAlice(spool, { io }).catch(() => undefined);
    await session?.mark(1);
    await session?.update().catch(() => undefined);
    crashed = changes() > last;

    // Else it was made at the first deletion, and durable.
    if (!/^none$|being made/.test(journalOf(spool))) continue;
    const second = ioRecorded();
    const again = await openAlice(spool, { io: second.io });
    if (again.messages < content.length) {
      await again.release();
      continue;
    }
    await again.mark(1);
    await again.update();
    const { calls } = second;
    expect(first(calls, 'sync alice'), `[${calls}] after change ${last}`).toBeLessThan(
      first(calls, 'write mailbox'),
    );
  }
});

test("a journal that may be somebody else's is never written to", async () => {
  const content = messages(3);
  const spool = spoolWith(content.join(''));
  const first = await openAlice(spool);
  await first.mark(1);
  await first.update();
  const journal = join(spool.stateDir, 'alice', 'journal');
  writeFileSync(journal, 'not ours');
  chmodSync(journal, 0o666);
  const before = spool.content();

  const session = await openAlice(spool);
  await session.mark(1);
  await expect(session.update()).rejects.toThrow('not removed');
  expect([readFileSync(journal, 'latin1'), spool.content()]).toEqual(['not ours', before]);
  expect(readdirSync(dirname(journal))).toEqual(['journal', 'journal.plan']);
});

test('a session that finished a plan, and deletes, gives back every descriptor', async () => {
  const content = messages(40);
  const spool = spoolWith(content.join(''));
  let writes = 0;
  const full = meteredIo((call, path) => {
    if (call !== 'write') return undefined;
    if (/\/journal(\.new)?$/.test(path)) return 'ENOSPC';
    // The first probes, and the second is the first step.
    return path.endsWith('/spool/alice') && ++writes > 1 ? 'EIO' : undefined;
  });
  const interrupted = await openAlice(spool, { io: full });
  await interrupted.mark(2);
  await expect(interrupted.update()).rejects.toThrow('not removed');

  const open = new Set<number>();
  const io: SpoolIo = {
    ...nodeIo,
    open: async (...args) => {
      const fd = await nodeIo.open(...args);
      open.add(fd);
      return fd;
    },
    close: async fd => {
      open.delete(fd);
      await nodeIo.close(fd);
    },
  };
  const session = await openAlice(spool, { io });
  expect(session.messages).toBe(39);
  await session.mark(2);
  await session.update();
  expect(spool.content()).toBe(content.filter((_, i) => i !== 1 && i !== 2).join(''));
  expect([...open]).toEqual([]);
});

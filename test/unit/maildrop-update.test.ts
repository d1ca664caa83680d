/** The UPDATE state: exactly the marked messages go, in place, or nothing does and the caller is told. */
import {
  appendFileSync,
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Unavailable } from '../../lib/errors.js';
import { type FileStat, nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';
import { message, messages, spoolWith } from '../support/mailbox.js';
import { openAlice } from '../support/maildrop.js';
import { chunksOf, collect } from '../support/message-reader.js';

const ALL = messages(6);
const without = (marked: number[], all = ALL) => all.filter((_, i) => !marked.includes(i + 1)).join('');

const PATTERNS: [string, number[]][] = [
  ['the first', [1]],
  ['the last', [6]],
  ['one in the middle', [3]],
  ['every second', [1, 3, 5]],
  ['the other half', [2, 4, 6]],
  ['a suffix', [4, 5, 6]],
  ['a prefix', [1, 2, 3]],
  ['all', [1, 2, 3, 4, 5, 6]],
  ['all but one', [1, 2, 4, 5, 6]],
];

describe.each(PATTERNS)('deleting %s', (_name, marked) => {
  test('leaves the rest, in the same inode, with owner, mode and times', async () => {
    const spool = spoolWith(ALL.join(''));
    utimesSync(spool.mailbox, 1_700_000_000, 1_700_000_100);
    const before = statSync(spool.mailbox);
    const maildrop = await openAlice(spool);
    for (const n of marked) await maildrop.mark(n);
    await maildrop.update();
    const after = statSync(spool.mailbox);
    expect(spool.content()).toBe(without(marked));
    expect([after.ino, after.uid, after.gid, after.mode, after.mtimeMs, after.atimeMs]).toEqual([
      before.ino,
      before.uid,
      before.gid,
      before.mode,
      before.mtimeMs,
      before.atimeMs,
    ]);
    expect(readdirSync(spool.dir)).toEqual(['alice']);
  });

  test('keeps mail that was appended during the session', async () => {
    const spool = spoolWith(ALL.join(''));
    const maildrop = await openAlice(spool, { lockYield: 0 });
    for (const n of marked) await maildrop.mark(n);
    appendFileSync(spool.mailbox, message('late'));
    expect(maildrop.messages).toBe(6);
    await maildrop.update();
    expect(spool.content()).toBe(without(marked) + message('late'));
  });

  test('RSET and release delete nothing', async () => {
    const spool = spoolWith(ALL.join(''));
    const first = await openAlice(spool);
    for (const n of marked) await first.mark(n);
    first.unmarkAll();
    expect(first.isMarked(marked[0]!)).toBe(false);
    await first.update();
    const second = await openAlice(spool);
    for (const n of marked) await second.mark(n);
    await second.release();
    await second.release();
    expect(spool.content()).toBe(ALL.join(''));
  });
});

test('P1: with nothing marked the file is not opened for writing once more, whoever changed it', async () => {
  const spool = spoolWith(ALL.join(''));
  const maildrop = await openAlice(spool, { lockYield: 0 });
  writeFileSync(spool.mailbox, 'rewritten by somebody else');
  await maildrop.update();
  expect(spool.content()).toBe('rewritten by somebody else');
});

describe('a mailbox changed by a program that rewrites it', () => {
  const CHANGES: [string, (path: string) => void][] = [
    ['a message deleted', path => writeFileSync(path, without([2]))],
    ['truncated', path => writeFileSync(path, ALL.slice(0, 3).join(''))],
    ['emptied', path => writeFileSync(path, '')],
    [
      'replaced by rename',
      path => {
        writeFileSync(`${path}.new`, ALL.join(''));
        renameSync(`${path}.new`, path);
      },
    ],
    ['reordered', path => writeFileSync(path, [...ALL].reverse().join(''))],
    ['a message inserted before', path => writeFileSync(path, message('first') + ALL.join(''))],
    ['a deleted message edited, same length', path => patch(path, 'This is 3.', 'That is 3.')],
    ['its From_ line edited, same length', path => patch(path, 'From sender4@', 'From sendex4@')],
  ];

  function patch(path: string, from: string, to: string): void {
    const at = readFileSync(path, 'latin1').indexOf(from);
    const fd = openSync(path, 'r+');
    writeSync(fd, to, at);
    closeSync(fd);
  }

  test.each(CHANGES)('%s: UPDATE says so and writes nothing', async (_name, change) => {
    const spool = spoolWith(ALL.join(''));
    const maildrop = await openAlice(spool, { lockYield: 0 });
    await maildrop.mark(3);
    change(spool.mailbox);
    const found = spool.content();
    await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
    expect(spool.content()).toBe(found);
    expect(readdirSync(spool.dir)).toEqual(['alice']);
  });

  test('a rewrite within one tick of the clock, with the same size and times, is noticed', async () => {
    const spool = spoolWith(ALL.join(''));
    const HOUR_NS = 3_600_000_000_000n;
    const times = new Map<number, Pick<FileStat, 'mtimeNs' | 'ctimeNs'>>();
    // A clock that stands still, ahead of ours: every look sees the times of the first, never long past.
    const io: SpoolIo = {
      ...nodeIo,
      fstat: async fd => {
        const now = await nodeIo.fstat(fd);
        const first = times.get(fd) ?? { mtimeNs: now.mtimeNs, ctimeNs: now.ctimeNs + HOUR_NS };
        times.set(fd, first);
        return { ...now, ...first };
      },
    };
    const maildrop = await openAlice(spool, { io, lockYield: 0 });
    await maildrop.mark(3);
    patch(spool.mailbox, 'This is 3.', 'That is 3.');
    const found = spool.content();
    await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
    expect(spool.content()).toBe(found);
  });

  test('a kept message edited in place before the first deletion does not matter', async () => {
    const spool = spoolWith(ALL.join(''));
    const maildrop = await openAlice(spool, { lockYield: 0 });
    await maildrop.mark(3);
    patch(spool.mailbox, 'This is 1.', 'That is 1.');
    await maildrop.update();
    expect(spool.content()).toBe(without([3]).replace('This is 1.', 'That is 1.'));
  });

  test('a kept message edited in place after it is kept as it is now', async () => {
    const spool = spoolWith(ALL.join(''));
    const maildrop = await openAlice(spool, { lockYield: 0 });
    await maildrop.mark(3);
    patch(spool.mailbox, 'This is 5.', 'That is 5.');
    await maildrop.update();
    expect(spool.content()).toBe(without([3]).replace('This is 5.', 'That is 5.'));
  });

  test('C33: RETR, TOP, DELE and UIDL end the session rather than answer for another message', async () => {
    const calls: ((maildrop: Awaited<ReturnType<typeof openAlice>>) => Promise<unknown>)[] = [
      m => collect(m.retrieve(3)),
      m => collect(m.top(3, 0)),
      m => m.mark(3),
      m => m.uniqueIds(),
    ];
    for (const call of calls) {
      for (const [, change] of CHANGES.slice(0, 3)) {
        const spool = spoolWith(ALL.join(''));
        const maildrop = await openAlice(spool, { lockYield: 0 });
        change(spool.mailbox);
        await expect(call(maildrop)).rejects.toMatchObject({ code: 'SYS/TEMP', fatal: true });
        await maildrop.release();
      }
    }
  });

  test('C33: a rewrite that ends larger is told from an append by the header', async () => {
    const spool = spoolWith(ALL.join(''));
    const maildrop = await openAlice(spool, { lockYield: 0 });
    const fourth = await collect(maildrop.retrieve(4));
    appendFileSync(spool.mailbox, message('late'));
    expect(await collect(maildrop.retrieve(4))).toBe(fourth);
    writeFileSync(spool.mailbox, message('first') + ALL.join(''));
    await expect(collect(maildrop.retrieve(4))).rejects.toMatchObject({ fatal: true });
    await maildrop.release();
  });

  test('C33: a rewrite in the middle of a long RETR cuts it', async () => {
    const long = message('long', 'x'.repeat(99).concat('\n').repeat(20_000));
    const spool = spoolWith(long + ALL.join(''));
    const maildrop = await openAlice(spool, { lockYield: 0 });
    const chunks = chunksOf(maildrop.retrieve(1));
    await chunks.next();
    appendFileSync(spool.mailbox, message('late'));
    expect((await chunks.next()).done).toBe(false);
    writeFileSync(spool.mailbox, long.replaceAll('x', 'y') + ALL.join(''));
    await expect(
      (async () => {
        for (let next = await chunks.next(); !next.done; next = await chunks.next());
      })(),
    ).rejects.toMatchObject({ code: 'SYS/TEMP', fatal: true });
    await maildrop.release();
  });
});

describe('a disk that fails', () => {
  /** A disk on which one kind of call fails, or comes short, from the k-th time on. */
  function failing(call: 'write' | 'sync' | 'truncate' | 'read', errno: string, from: number): SpoolIo {
    let count = 0;
    const fail = () => {
      throw Object.assign(new Error(errno), { code: errno });
    };
    return {
      ...nodeIo,
      [call]: async (...args: never[]) =>
        ++count >= from ? fail() : (nodeIo[call] as (...a: never[]) => unknown)(...args),
    };
  }

  test.each(['EIO', 'ENOSPC', 'EDQUOT', 'EFBIG'])(
    '%s while sliding: UPDATE fails, and says so',
    async errno => {
      const spool = spoolWith(ALL.join(''));
      // The first write is the session lock's record.
      const maildrop = await openAlice(spool, { io: failing('write', errno, 2) });
      await maildrop.mark(3);
      await expect(maildrop.update()).rejects.toBeInstanceOf(Unavailable);
      expect(spool.content()).toBe(ALL.join(''));
    },
  );

  test('EIO from fsync: never +OK', async () => {
    const spool = spoolWith(ALL.join(''));
    const maildrop = await openAlice(spool, { io: failing('sync', 'EIO', 1) });
    await maildrop.mark(6);
    await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
  });

  test('C37: short reads and writes are looped', async () => {
    const spool = spoolWith(ALL.join(''));
    const io: SpoolIo = {
      ...nodeIo,
      read: (fd, into, position) => nodeIo.read(fd, into.subarray(0, 7), position),
      write: (fd, from, position) => nodeIo.write(fd, from.subarray(0, 5), position),
    };
    const maildrop = await openAlice(spool, { io });
    expect(maildrop.messages).toBe(6);
    for (const n of [1, 3]) await maildrop.mark(n);
    await maildrop.update();
    expect(spool.content()).toBe(without([1, 3]));
  });

  test('EINTR is not an error', async () => {
    const spool = spoolWith(ALL.join(''));
    let calls = 0;
    const interrupted = () => {
      if (++calls % 2 === 1) throw Object.assign(new Error('EINTR'), { code: 'EINTR' });
    };
    const io: SpoolIo = {
      ...nodeIo,
      read: async (...args) => {
        interrupted();
        return nodeIo.read(...args);
      },
      write: async (...args) => {
        interrupted();
        return nodeIo.write(...args);
      },
    };
    const maildrop = await openAlice(spool, { io });
    await maildrop.mark(2);
    await maildrop.update();
    expect(spool.content()).toBe(without([2]));
  });
});

test('--read-only refuses DELE and never writes', async () => {
  const spool = spoolWith(ALL.join(''));
  const maildrop = await openAlice(spool, { readOnly: true });
  await expect(maildrop.mark(1)).rejects.toMatchObject({ code: 'SYS/PERM' });
  await maildrop.update();
  expect(spool.content()).toBe(ALL.join(''));
});

describe('unique-ids of identical messages', () => {
  const twins = [message(1), message(2), message(1), message(1)];

  test('stay when one of them is deleted, also for mail that comes later', async () => {
    const spool = spoolWith(twins.join(''));
    const first = await openAlice(spool);
    const ids = await first.uniqueIds();
    expect(new Set(ids).size).toBe(4);
    expect(ids[2]).toBe(`${ids[0]}-2`);
    await first.mark(1);
    await first.update();
    appendFileSync(spool.mailbox, message(1));
    const second = await openAlice(spool);
    expect(await second.uniqueIds()).toEqual([ids[1], ids[2], ids[3], `${ids[0]}-4`]);
    for (const n of [1, 2, 3]) await second.mark(n);
    await second.update();
    const third = await openAlice(spool);
    expect(await third.uniqueIds()).toEqual([`${ids[0]}-4`]);
    await third.release();
  });

  test('are remembered before the messages go: a crash between changes no id', async () => {
    const spool = spoolWith(twins.join(''));
    const first = await openAlice(spool, {
      io: {
        ...nodeIo,
        truncate: async (fd, size) =>
          size > 0 ? Promise.reject(new Error('crash')) : nodeIo.truncate(fd, size),
      },
    });
    const ids = await first.uniqueIds();
    await first.mark(4);
    await expect(first.update()).rejects.toThrow();
    const second = await openAlice(spool);
    expect(await second.uniqueIds()).toEqual(ids);
    await second.release();
  });

  test('a memory that is not ours is an error, not new ids', async () => {
    const spool = spoolWith(twins.join(''));
    const state = join(spool.stateDir, 'alice');
    const first = await openAlice(spool);
    await first.mark(1);
    await first.update();
    writeFileSync(join(state, 'unique-ids'), 'garbage');
    const second = await openAlice(spool);
    await expect(second.uniqueIds()).rejects.toThrow('unique-ids');
    await second.release();
  });
});

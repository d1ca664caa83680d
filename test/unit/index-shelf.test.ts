/** Indexes of large mailboxes that go from session to session in memory: only for exactly the file they are of. */
import { appendFileSync, readFileSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { encodeIndex, type KeptIndex, moved } from '../../lib/maildrop/index-cache-format.js';
import { IndexMemory } from '../../lib/maildrop/index-memory.js';
import { IndexShelf, type ShelvedIndex } from '../../lib/maildrop/index-shelf.js';
import { type FileStat, nodeIo } from '../../lib/maildrop/io.js';
import { Scanner } from '../../lib/mbox/scanner.js';
import type { Maildrop } from '../../lib/pop3/ports.js';
import { BUSY, message, messages, type Spool, spoolWith } from '../support/mailbox.js';
import { mailSpool, openAlice, PEER } from '../support/maildrop.js';
import { meteredIo } from '../support/metered-io.js';

/** Longer than the clock of any file system takes to tick. */
const SETTLED = 30;

function scanned(text: string) {
  const scanner = new Scanner();
  scanner.push(Buffer.from(text));
  return scanner.end();
}

describe('the shelf', () => {
  const STAT = { dev: 1n, ino: 2n, mtimeNs: 3n, ctimeNs: 4n };
  const identities = Buffer.alloc(0);
  const memory = new IndexMemory({ least: 0 });

  function shelved(count: number): ShelvedIndex {
    const index = scanned(messages(count).join(''));
    const kept: KeptIndex = { index, identities, proven: true, stat: STAT, seenAt: 5 };
    return moved(
      kept,
      encodeIndex(kept, size => memory.take(size)),
    );
  }

  const statOf = ({ kept }: ShelvedIndex) => ({ ...STAT, size: kept.index.size }) as FileStat;

  test('gives what it has once, to whoever sees that state of the file', () => {
    const shelf = new IndexShelf(memory, 1e6);
    const one = shelved(7);
    shelf.put('a', one);
    expect(shelf.octets).toBe(one.octets.buffer.byteLength);
    expect(shelf.has('a', statOf(one))).toBe(true);
    expect(shelf.take('a', statOf(one))).toBe(one);
    expect(shelf.take('a', statOf(one))).toBeUndefined();
    expect(shelf.octets).toBe(0);
  });

  test.each<[string, Partial<FileStat>]>([
    ['device', { dev: 9n }],
    ['inode', { ino: 9n }],
    ['size', { size: 9 }],
    ['mtime', { mtimeNs: 9n }],
    ['ctime', { ctimeNs: 9n }],
  ])('another %s: it goes back to the memory, and whoever still has it has nothing', (_, other) => {
    const shelf = new IndexShelf(memory, 1e6);
    const one = shelved(7);
    const stat = { ...statOf(one), ...other };
    shelf.put('a', one);
    const before = memory.kept;
    expect(shelf.has('a', stat)).toBe(false);
    expect(shelf.take('a', stat)).toBeUndefined();
    expect(memory.kept).toBeGreaterThan(before);
    expect(() => one.kept.index.octets(1)).toThrow('given back');
    expect(shelf.octets).toBe(0);
  });

  test('a clock that was set back: not believed', () => {
    const shelf = new IndexShelf(memory, 1e6);
    const { kept, octets } = shelved(7);
    const future = { kept: { ...kept, seenAt: Date.now() + 60_000 }, octets };
    shelf.put('a', future);
    expect(shelf.take('a', statOf(future))).toBeUndefined();
  });

  test('takes a bounded place: who came first goes first, and its memory to others', () => {
    const [first, second, third] = [shelved(7), shelved(7), shelved(7)] as const;
    const shelf = new IndexShelf(memory, 2 * first.octets.buffer.byteLength);
    for (const [path, one] of Object.entries({ first, second, third })) shelf.put(path, one);
    expect(shelf.take('first', statOf(first))).toBeUndefined();
    expect(first.octets.buffer.byteLength).toBe(0);
    expect(shelf.take('third', statOf(third))).toBe(third);
    const large = shelved(50);
    shelf.put('large', large);
    expect(large.octets.buffer.byteLength).toBe(0);
    expect(shelf.octets).toBe(0);
  });

  test('what is still being done with a name is waited for, in order, whether or not it fails', async () => {
    const shelf = new IndexShelf(memory, 1e6);
    const done: string[] = [];
    const work = (name: string) => async () => {
      await sleep(5);
      done.push(name);
      if (name === 'one') throw new Error(name);
    };
    const one = expect(shelf.during('a', work('one'))).rejects.toThrow('one');
    const two = shelf.during('a', work('two'));
    await shelf.settled('b');
    expect(done).toEqual([]);
    await shelf.settled('a');
    expect(done).toEqual(['one', 'two']);
    await Promise.all([one, two]);
  });
});

describe('a large mailbox', () => {
  async function hostOf(spool: Spool) {
    const calls: string[] = [];
    const io = meteredIo((call, path) => {
      calls.push(`${call} ${basename(path)}`);
      return undefined;
    });
    const host = await mailSpool(spool, { indexCache: 0, indexMemory: new IndexMemory({ least: 0 }), io });
    const open = () => host.open({ user: 'alice' }, PEER, BUSY);
    const session = async (work = answersOf) => {
      const maildrop = await open();
      try {
        return await work(maildrop);
      } finally {
        await maildrop.release();
      }
    };
    const readIndex = () => calls.splice(0).filter(call => call === 'open index').length;
    return { open, session, readIndex, io };
  }

  async function answersOf(maildrop: Maildrop) {
    const octets = Array.from({ length: maildrop.messages }, (_, i) => maildrop.octets(i + 1));
    return { octets, total: maildrop.totalOctets, ids: await maildrop.uniqueIds() };
  }

  async function truth(spool: Spool) {
    const maildrop = await openAlice(spool);
    const answers = await answersOf(maildrop);
    await maildrop.release();
    return answers;
  }

  test('that did not change: neither it nor the index is read, from the second session on', async () => {
    const spool = spoolWith(messages(30).join(''));
    await sleep(SETTLED);
    const { session, readIndex, io } = await hostOf(spool);
    const first = await session();
    expect(readIndex()).toBe(1);
    io.readOf('/spool/alice');
    for (let n = 0; n < 3; n++) expect(await session()).toEqual(first);
    expect(readIndex()).toBe(0);
    expect(io.readOf('/spool/alice')).toBe(0);
    expect(first).toEqual(await truth(spool));
  });

  test('that another process has indexed is read from there once', async () => {
    const spool = spoolWith(messages(30).join(''));
    await sleep(SETTLED);
    await (await hostOf(spool)).session();
    const { session, readIndex } = await hostOf(spool);
    for (const reads of [1, 0, 0]) {
      expect(await session()).toEqual(await truth(spool));
      expect(readIndex()).toBe(reads);
    }
  });

  test.each<[string, (spool: Spool) => void]>([
    ['grew', spool => appendFileSync(spool.mailbox, message(31))],
    ['shrank', spool => writeFileSync(spool.mailbox, messages(20).join(''))],
    [
      'was rewritten, with size and mtime restored',
      spool => {
        const { atime, mtime } = statSync(spool.mailbox);
        const text = readFileSync(spool.mailbox, 'latin1');
        const [one, two] = [message(3), message(4)];
        expect(one).toHaveLength(two.length);
        writeFileSync(spool.mailbox, text.replace(one, two), 'latin1');
        utimesSync(spool.mailbox, atime, mtime);
      },
    ],
    [
      'was replaced',
      spool => {
        const other = join(spool.stateDir, 'other');
        writeFileSync(other, messages(31).join(''), { mode: 0o600 });
        renameSync(other, spool.mailbox);
      },
    ],
  ])('that %s: the answers are true', async (_, change) => {
    const spool = spoolWith(messages(30).join(''));
    await sleep(SETTLED);
    const { session } = await hostOf(spool);
    for (let n = 0; n < 2; n++) await session();
    change(spool);
    for (let n = 0; n < 2; n++) expect(await session()).toEqual(await truth(spool));
    await sleep(SETTLED);
    for (let n = 0; n < 2; n++) expect(await session()).toEqual(await truth(spool));
  });

  test('loses what is deleted, and no more; who comes back at once waits for the index', async () => {
    const spool = spoolWith(messages(30).join(''));
    await sleep(SETTLED);
    const { open, session, io } = await hostOf(spool);
    const { ids } = await session();
    const maildrop = await open();
    await maildrop.mark(30);
    await maildrop.update();
    const over = maildrop.release();
    const again = await session();
    await over;
    expect(again.ids).toEqual(ids.slice(0, -1));
    // The message deleted and the last one: the others are known.
    expect(io.readOf('/spool/alice')).toBeLessThan(2.5 * statSync(spool.mailbox).size);
    expect(again).toEqual(await truth(spool));
  });

  test('an UPDATE is answered before its index is written, and no lock is held then', async () => {
    const spool = spoolWith(messages(30).join(''));
    await sleep(SETTLED);
    const { open, session } = await hostOf(spool);
    await session();
    const index = () => statSync(join(spool.stateDir, 'alice', 'index'), { bigint: true }).ino;
    const before = index();
    const maildrop = await open();
    await maildrop.mark(7);
    await maildrop.update();
    expect(index()).toBe(before);
    await expect(nodeIo.lstat(`${spool.mailbox}.lock`)).rejects.toMatchObject({ code: 'ENOENT' });
    const next = await open();
    await maildrop.release();
    expect(index()).not.toBe(before);
    await next.release();
  });
});

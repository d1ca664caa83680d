/** How messages are read: in order few reads serve many, and nothing read before may hide what happened since. */
import { appendFileSync, existsSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { Blocks } from '../../lib/maildrop/blocks.js';
import { nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';
import { MailboxFile } from '../../lib/maildrop/mailbox-file.js';
import { ReadAhead } from '../../lib/maildrop/read-ahead.js';
import { READ_CHUNK } from '../../lib/maildrop/snapshot.js';
import { message, spoolWith } from '../support/mailbox.js';
import { openAlice } from '../support/maildrop.js';
import { chunksOf, collect } from '../support/message-reader.js';

/** Messages of some 10 KB, each line of them with its number. */
const MESSAGES = Array.from({ length: 100 }, (_, i) => message(i, `${`${i}`.padEnd(70, '.')}\n`.repeat(140)));

function wireForm(stored: string): string {
  return stored.slice(stored.indexOf('\n') + 1, -1).replaceAll('\n', '\r\n');
}

/** The disk, with the reads counted and held up by `wait`. */
function countingIo(wait: () => Promise<void> = async () => {}): SpoolIo & { reads: number } {
  const io = {
    ...nodeIo,
    reads: 0,
    async read(fd: number, into: Uint8Array, position: number): Promise<number> {
      io.reads++;
      await wait();
      return nodeIo.read(fd, into, position);
    },
  };
  return io;
}

test('messages taken in order cost a read for each 256 KiB, each in its own place', async () => {
  const io = countingIo();
  const maildrop = await openAlice(spoolWith(MESSAGES.join('')), { io });
  io.reads = 0;
  for (let n = 1; n <= MESSAGES.length; n++) {
    expect(await collect(maildrop.retrieve(n))).toBe(wireForm(MESSAGES[n - 1]!));
  }
  expect(io.reads).toBeLessThanOrEqual(5);
  await maildrop.release();
});

test('so do TOP of each, TOP and RETR of each, and RETR and DELE of each', async () => {
  for (const kind of ['top', 'both', 'dele']) {
    const io = countingIo();
    const maildrop = await openAlice(spoolWith(MESSAGES.join('')), { io });
    for (let n = 1; n <= MESSAGES.length; n++) {
      const whole = wireForm(MESSAGES[n - 1]!);
      if (kind === 'dele') await maildrop.mark(n);
      else {
        const top = whole.slice(0, whole.indexOf('\r\n\r\n') + 4);
        expect(await collect(maildrop.top(n, 0))).toBe(top);
      }
      if (n === 1) io.reads = 0;
      if (kind !== 'top') expect(await collect(maildrop.retrieve(n))).toBe(whole);
    }
    expect(io.reads).toBeLessThanOrEqual(10);
    await maildrop.release();
  }
});

test('one message alone costs no more than itself', async () => {
  const io = countingIo();
  let octets = 0;
  const read = io.read;
  io.read = async (...args) => {
    const count = await read(...args);
    octets += count;
    return count;
  };
  const maildrop = await openAlice(spoolWith(MESSAGES.join('')), { io });
  octets = 0;
  await collect(maildrop.retrieve(50));
  expect(octets).toBeLessThan(MESSAGES[49]!.length + 100);
  await maildrop.release();
});

test('in any order, with other readers in between, each message is itself', async () => {
  const maildrop = await openAlice(spoolWith(MESSAGES.join('')));
  const order = Array.from({ length: 300 }, (_, i) => ((i * 37 + (i % 3)) % MESSAGES.length) + 1);
  const readers = order.map(async n => {
    let text = '';
    for await (const chunk of chunksOf(maildrop.retrieve(n), 4096)) text += chunk.toString('latin1');
    expect(text).toBe(wireForm(MESSAGES[n - 1]!));
  });
  await Promise.all(readers);
  await maildrop.release();
});

describe('after the locks were yielded', () => {
  test('what was read ahead before a rewrite is not sent', async () => {
    const spool = spoolWith(MESSAGES.join(''));
    const maildrop = await openAlice(spool, { lockYield: 0 });
    expect(await collect(maildrop.retrieve(1))).toBe(wireForm(MESSAGES[0]!));
    writeFileSync(spool.mailbox, MESSAGES.join('').replaceAll('Subject', 'Tcejbus'));
    await expect(collect(maildrop.retrieve(2))).rejects.toMatchObject({ code: 'SYS/TEMP', fatal: true });
    await maildrop.release();
  });

  test('mail that comes does not disturb', async () => {
    const spool = spoolWith(MESSAGES.join(''));
    const maildrop = await openAlice(spool, { lockYield: 0 });
    for (let n = 1; n <= MESSAGES.length; n++) {
      expect(await collect(maildrop.retrieve(n))).toBe(wireForm(MESSAGES[n - 1]!));
      if (n % 30 === 0) appendFileSync(spool.mailbox, message('late'));
    }
    await maildrop.release();
  });

  test('an append in progress, whose time the kernel shows before its size, is none to it either', async () => {
    const spool = spoolWith(MESSAGES.join(''));
    let [size, half] = [0, 0];
    const io: SpoolIo = {
      ...nodeIo,
      fstat: async fd => {
        const stat = await nodeIo.fstat(fd);
        return stat.size > size && half-- > 0 ? { ...stat, size } : stat;
      },
    };
    const maildrop = await openAlice(spool, { lockYield: 0, io });
    /** From now on, the next looks are into the middle of an append. */
    const deliver = () => {
      size = statSync(spool.mailbox).size;
      appendFileSync(spool.mailbox, message('late'));
      half = 3;
    };
    for (let n = 1; n <= 5; n++) {
      deliver();
      expect(await collect(maildrop.retrieve(n))).toBe(wireForm(MESSAGES[n - 1]!));
      expect(half).toBeLessThan(1);
    }
    deliver();
    expect(await maildrop.uniqueIds()).toHaveLength(MESSAGES.length);
    await maildrop.release();
  });

  test('in the middle of messages read ahead', async () => {
    const spool = spoolWith(MESSAGES.join(''));
    const maildrop = await openAlice(spool, { lockYield: 100 });
    for (let n = 1; n <= MESSAGES.length; n++) {
      expect(await collect(maildrop.retrieve(n))).toBe(wireForm(MESSAGES[n - 1]!));
      while (n === 3 && existsSync(`${spool.mailbox}.lock`)) {
        await new Promise(resolve => setTimeout(resolve, 5));
      }
    }
    writeFileSync(spool.mailbox, MESSAGES.slice(1).join(''));
    await expect(collect(maildrop.retrieve(2))).rejects.toMatchObject({ fatal: true });
    await maildrop.release();
  });
});

describe('reading ahead', () => {
  async function opened(io: SpoolIo = nodeIo): Promise<MailboxFile> {
    const { mailbox } = spoolWith(MESSAGES.join(''));
    const file = await MailboxFile.open(io, mailbox, { owner: process.geteuid!(), writable: false });
    if (file === undefined) throw new Error('no file');
    return file;
  }
  const all = Buffer.from(MESSAGES.join(''), 'latin1');

  test('without a block goes on in small pieces', async () => {
    const file = await opened();
    const ahead = new ReadAhead(file, new Blocks(0));
    for (let at = 0; at < all.length; ) {
      const piece = ahead.cached(at, all.length);
      if (piece === undefined) await ahead.fill(at, all.length);
      else {
        expect(piece.length).toBeLessThanOrEqual(READ_CHUNK);
        expect(piece.equals(all.subarray(at, at + piece.length))).toBe(true);
        at += piece.length;
      }
    }
    await ahead.close();
    await file.close();
  });

  test('a session that asks for nothing loses what it has, and the memory goes', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      const file = await opened();
      const blocks = new Blocks(2);
      const ahead = new ReadAhead(file, blocks);
      await ahead.fill(0, all.length);
      expect(blocks.take()).toBeUndefined();
      vi.advanceTimersByTime(500);
      expect(ahead.cached(0, 10)?.toString()).toBe('From sende');
      vi.advanceTimersByTime(500);
      expect(ahead.cached(0, 10)).toBeDefined();
      vi.advanceTimersByTime(1000);
      expect(ahead.cached(0, 10)).toBeUndefined();
      await ahead.close();
      expect(blocks.take()).toBeDefined();
      expect(vi.getTimerCount()).toBe(0);
      await file.close();
    } finally {
      vi.useRealTimers();
    }
  });

  test('the file is not closed, nor memory given away, under a read', async () => {
    let go = () => {};
    let held = Promise.resolve();
    const io = countingIo(() => held);
    const file = await opened(io);
    const blocks = new Blocks(2);
    const ahead = new ReadAhead(file, blocks);
    const filled = ahead.fill(0, all.length);
    await filled;
    held = new Promise(resolve => {
      go = resolve;
    });
    await ahead.fill(256 * 1024, all.length);
    let closed = false;
    const closing = ahead.close().then(() => {
      closed = true;
    });
    await new Promise(resolve => setImmediate(resolve));
    expect([closed, io.reads]).toEqual([false, 3]);
    go();
    await closing;
    expect([blocks.take(), blocks.take()]).not.toContain(undefined);
    await file.close();
  });

  test('nothing is kept of a read that ends after the file was closed', async () => {
    let go = () => {};
    const io = countingIo(
      () =>
        new Promise(resolve => {
          go = resolve;
        }),
    );
    const file = await opened(io);
    const blocks = new Blocks(1);
    const ahead = new ReadAhead(file, blocks);
    const filled = ahead.fill(0, all.length);
    const closing = ahead.close();
    go();
    await expect(filled).rejects.toThrow('closed');
    await closing;
    await file.close();
    await new Promise(resolve => setImmediate(resolve));
    expect(ahead.cached(0, 1)).toBeUndefined();
    expect(blocks.take()).toBeDefined();
  });

  test('a read that failed is told to who asks for it, not before', async () => {
    let failing = false;
    const io = countingIo();
    const { read } = io;
    io.read = (...args) => (failing ? Promise.reject(new Error('EIO')) : read(...args));
    const file = await opened(io);
    const ahead = new ReadAhead(file, new Blocks());
    failing = true;
    await expect(ahead.fill(0, all.length)).rejects.toThrow('EIO');
    failing = false;
    await ahead.fill(0, all.length);
    failing = true;
    expect(ahead.cached(0, 4)?.toString()).toBe('From');
    await expect(ahead.fill(512 * 1024, all.length)).rejects.toThrow('EIO');
    failing = false;
    await ahead.fill(512 * 1024, all.length);
    expect(ahead.cached(512 * 1024, all.length)?.[0]).toBe(all[512 * 1024]);
    await ahead.close();
    await file.close();
  });
});

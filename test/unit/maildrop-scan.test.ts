/**
 * Reading a mailbox file to index it: the same index with as many scans at a time as one likes, with any
 * short reads, and whatever happens, all of the kernels' memory is given back when nobody reads it any more.
 */
import { mkdtempSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';
import { MailboxFile } from '../../lib/maildrop/mailbox-file.js';
import { SCAN_CHUNK } from '../../lib/maildrop/scan-file.js';
import type { Kernel } from '../../lib/mbox/kernel/kernel.js';
import { NotMbox } from '../../lib/mbox/scanner.js';
import { extents, requireKernel, scan } from '../support/oracle-tools.js';

const FROM = 'From a@example.org Sat Jan  3 01:05:34 1996\n';
const kernel = requireKernel();

/** Messages of many sizes, so that chunks cut them everywhere. */
function mail(octets: number, seed: number): Buffer {
  const parts: string[] = [];
  for (let size = 0, n = seed; size < octets; n++) {
    const message = `${FROM}Subject: ${n}\nStatus: RO\n\n${`${'x'.repeat(n % 71)}\n`.repeat(n % 97)}\n`;
    parts.push(message);
    size += message.length;
  }
  return Buffer.from(parts.join(''), 'latin1');
}

async function opened(
  content: Uint8Array,
  io: SpoolIo,
  withKernel: Kernel | undefined,
): Promise<MailboxFile> {
  const dir = mkdtempSync(join(tmpdir(), 'mbox-pop3d-scan-'));
  const path = join(dir, 'mailbox');
  writeFileSync(path, content);
  const options = { owner: process.geteuid!(), writable: false, kernel: withKernel };
  const file = (await MailboxFile.open(io, path, options))!;
  onTestFinished(async () => {
    await file.close();
    rmSync(dir, { recursive: true, force: true });
  });
  return file;
}

/** How many slots are free; takes them all for a moment. */
function freeSlots(): number {
  const taken: Buffer[] = [];
  for (let slot = kernel.memory.take(); slot; slot = kernel.memory.take()) taken.push(slot);
  for (const slot of taken.reverse()) kernel.memory.giveBack(slot);
  return taken.length;
}

test.each([
  ['the kernels', kernel],
  ['their twins', undefined],
])('thirty scans at a time, by %s', async (_name, withKernel) => {
  const free = freeSlots();
  const contents = Array.from({ length: 30 }, (_, n) => mail(SCAN_CHUNK * (n % 4) + 5000 * n, n));
  const files = await Promise.all(contents.map(content => opened(content, nodeIo, withKernel)));
  const indexes = await Promise.all(files.map(file => file.scan()));
  for (const [n, index] of indexes.entries()) expect(extents(index)).toEqual(extents(scan(contents[n]!)));
  expect(freeSlots()).toBe(free);
});

test.each([SCAN_CHUNK - 1, SCAN_CHUNK, SCAN_CHUNK + 1, 2 * SCAN_CHUNK])('a file of %d octets', async size => {
  const content = mail(size, 7).subarray(0, size);
  const file = await opened(content, nodeIo, kernel);
  const expected = extents(scan(content));
  expect(extents(await file.scan())).toEqual(expected);
  expect(extents(await file.scan({ size }))).toEqual(expected);
  const { start } = expected[100]!;
  const rest = extents(scan(content.subarray(start)));
  expect(extents(await file.scan({ from: start }))).toEqual(rest);
  expect(extents(await file.scan({ from: start, size }))).toEqual(rest);
});

test.each(['\n', '\r\n'])(
  'a From_ line at every place around the end of a chunk, lines ending in %j',
  async end => {
    const from = FROM.replace('\n', end);
    const before = Buffer.from(`${from}A: b${end}${end}x${end}${end}${from}A: b${end}${end}`, 'latin1');
    // The last body begins with an empty line, so that what begins like a From_ line follows at once.
    const after = Buffer.from(
      `${end}${from}A: b${end}${end}x${end}${end}${from}${end}${end}From x${end}`,
      'latin1',
    );
    const content = Buffer.alloc(SCAN_CHUNK + 200, `F${end}`).fill('x', 0, SCAN_CHUNK - 1000);
    const file = await opened(content, nodeIo, kernel);
    for (let at = SCAN_CHUNK - 2 * after.length; at <= SCAN_CHUNK + 8; at++) {
      // A line end before it, wherever the pattern is cut.
      const octets = Buffer.concat([before, content.subarray(0, at - before.length - end.length)]);
      const whole = Buffer.concat([octets, Buffer.from(end), after]);
      writeFileSync(file.path, whole);
      expect([at, extents(await file.scan({ size: whole.length }))]).toEqual([at, extents(scan(whole))]);
    }
  },
);

test('a file that is shorter or longer than the caller knows', async () => {
  const content = mail(3 * SCAN_CHUNK, 5);
  const file = await opened(content, nodeIo, kernel);
  expect((await file.scan({ size: content.length + 1 })).size).toBe(content.length);
  const size = 2 * SCAN_CHUNK + 5;
  expect(extents(await file.scan({ size }))).toEqual(extents(scan(content.subarray(0, size))));
});

test('an empty file', async () => {
  const file = await opened(Buffer.alloc(0), nodeIo, kernel);
  expect((await file.scan({ size: 0 })).messages).toBe(0);
  expect((await file.scan()).messages).toBe(0);
});

test('short reads', async () => {
  let call = 0;
  const read: SpoolIo['read'] = (fd, into, position) =>
    nodeIo.read(fd, into.subarray(0, 1 + ((++call * 7919) % 65_536)), position);
  const content = mail(3 * SCAN_CHUNK, 3);
  const file = await opened(content, { ...nodeIo, read }, kernel);
  expect(extents(await file.scan())).toEqual(extents(scan(content)));
});

test.each([
  ['all', (length: number) => length],
  ['some', (length: number) => 1 + ((length * 7919) % length)],
  ['none', () => undefined],
  ['all or none', (length: number, call: number) => (call % 3 === 0 ? undefined : length)],
  ['some, none, all', (length: number, call: number) => [1, undefined, length, length - 1][call % 4]],
])('%s of it in the page cache', async (_, inMemory) => {
  const content = mail(5 * SCAN_CHUNK + 77, 4);
  let [call, copied, read] = [0, 0, 0];
  const io: SpoolIo = {
    ...nodeIo,
    readCached: (fd, into, position) => {
      const length = inMemory(into.length, call++);
      if (length === undefined) return undefined;
      const count = readSync(fd, into, 0, length, position);
      copied += count;
      return count;
    },
    read: async (fd, into, position) => {
      const count = await nodeIo.read(fd, into, position);
      read += count;
      return count;
    },
  };
  const file = await opened(content, io, kernel);
  const expected = extents(scan(content));
  for (const size of [content.length, undefined]) {
    [copied, read] = [0, 0];
    expect(extents(await file.scan({ ...(size !== undefined && { size }) }))).toEqual(expected);
    expect(copied + read).toBe(content.length);
  }
});

/** So that each turn is over as soon as it is looked at. */
function everyLookIsASecondLater(): void {
  const now = vi.spyOn(performance, 'now');
  onTestFinished(() => now.mockRestore());
  let clock = 0;
  now.mockImplementation(() => {
    clock += 1000;
    return clock;
  });
}

test('others have their turn in the middle of what is in the page cache', async () => {
  const readCached: SpoolIo['readCached'] = (fd, into, position) =>
    readSync(fd, into, 0, into.length, position);
  everyLookIsASecondLater();
  const content = mail(4 * SCAN_CHUNK, 2);
  const file = await opened(content, { ...nodeIo, readCached }, kernel);
  let turns = 0;
  let over = false;
  const other = () => {
    turns++;
    if (!over) setImmediate(other);
  };
  setImmediate(other);
  const { messages } = await file.scan({ size: content.length });
  over = true;
  expect(messages).toBeGreaterThan(1000);
  expect(turns).toBeGreaterThanOrEqual(4);
});

test('of many scans, a few go on in each turn of the event loop', async () => {
  everyLookIsASecondLater();
  let steps = 0;
  const readCached: SpoolIo['readCached'] = (fd, into, position) =>
    readSync(fd, into, 0, into.length, position);
  const content = mail(2 * SCAN_CHUNK, 2);
  const files = await Promise.all(
    Array.from({ length: 10 }, () => opened(content, { ...nodeIo, readCached }, kernel)),
  );
  const perTurn: number[] = [];
  let over = false;
  const alsoTo = { push: () => void steps++ };
  const scans = Promise.all(files.map(file => file.scan({ size: content.length, alsoTo })));
  steps = 0; // Each has begun at once.
  const other = () => {
    perTurn.push(steps);
    steps = 0;
    if (!over) setImmediate(other);
  };
  setImmediate(other);
  await scans;
  over = true;
  expect(perTurn.length).toBeGreaterThan(4);
  expect(Math.max(...perTurn)).toBeLessThanOrEqual(4);
});

test('a refused file gives its memory back', async () => {
  const free = freeSlots();
  const file = await opened(Buffer.alloc(3 * SCAN_CHUNK, 'no mailbox\n'), nodeIo, kernel);
  await expect(file.scan()).rejects.toThrow(NotMbox);
  expect(freeSlots()).toBe(free);
});

test('a disk that fails in the middle', async () => {
  const free = freeSlots();
  const read: SpoolIo['read'] = (fd, into, position) =>
    position < SCAN_CHUNK ? nodeIo.read(fd, into, position) : Promise.reject(new Error('EIO'));
  const file = await opened(mail(3 * SCAN_CHUNK, 3), { ...nodeIo, read }, kernel);
  await expect(file.scan()).rejects.toThrow('EIO');
  expect(freeSlots()).toBe(free);
});

test('a disk that fails while others have their turn: only this scan is told', async () => {
  const unhandled: unknown[] = [];
  const listener = (error: unknown) => unhandled.push(error);
  process.on('unhandledRejection', listener);
  const now = vi.spyOn(performance, 'now');
  onTestFinished(() => {
    process.off('unhandledRejection', listener);
    now.mockRestore();
  });
  const read: SpoolIo['read'] = (fd, into, position) =>
    position < SCAN_CHUNK ? nodeIo.read(fd, into, position) : Promise.reject(new Error('EIO'));
  const file = await opened(mail(3 * SCAN_CHUNK, 3), { ...nodeIo, read }, kernel);
  let clock = 0;
  now.mockImplementation(() => {
    clock += 1000;
    return clock;
  });
  await expect(file.scan()).rejects.toThrow('EIO');
  expect(unhandled).toEqual([]);
});

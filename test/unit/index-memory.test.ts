/** The memory of indexes goes from session to session: what one of them had in it, no other sees. */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test, vi } from 'vitest';
import { Unavailable } from '../../lib/errors.js';
import { IndexMemory } from '../../lib/maildrop/index-memory.js';
import type { Maildrop } from '../../lib/pop3/ports.js';
import { BUSY, message, messages, type Spool, spoolWith } from '../support/mailbox.js';
import { mailSpool, openAlice, PEER } from '../support/maildrop.js';
import { collect } from '../support/message-reader.js';
import { meteredIo } from '../support/metered-io.js';

afterEach(() => {
  vi.useRealTimers();
});

/** Longer than the clock of any file system takes to tick. */
const SETTLED = 30;
const KiB = 1024;

test('what is given back is empty for who had it, and goes to the next one, once', () => {
  const memory = new IndexMemory();
  const mine = memory.take(200 * KiB);
  mine.fill('secret');
  const view = new Float64Array(mine.buffer, 0, 10);
  memory.giveBack(mine);
  expect([mine.length, view.length, view[0]]).toEqual([0, 0, undefined]);
  const kept = memory.kept;
  expect(kept).toBeGreaterThanOrEqual(200 * KiB);
  memory.giveBack(mine);
  expect(memory.kept).toBe(kept);
  const next = memory.take(201 * KiB);
  expect(memory.kept).toBe(0);
  expect([next.length, next.byteOffset]).toEqual([201 * KiB, 0]);
  // It is the same memory: that is what it is for.
  expect(next.toString('latin1', 0, 6)).toBe('secret');
  expect(memory.take(200 * KiB).buffer).not.toBe(next.buffer);
});

test('the smallest piece that is large enough, but none that is many times too large', () => {
  const memory = new IndexMemory();
  const pieces = [900, 300, 600].map(size => memory.take(size * KiB));
  const [large, , medium] = pieces.map(({ buffer }) => buffer.byteLength);
  for (const piece of pieces) memory.giveBack(piece);
  const kept = memory.kept;
  memory.take(500 * KiB);
  expect(memory.kept).toBe(kept - medium!);
  memory.take(100 * KiB);
  memory.take(100 * KiB);
  expect(memory.kept).toBe(large);
});

test('small pieces are left to the collector, and are not taken from who has them', () => {
  const memory = new IndexMemory();
  const small = memory.take(10 * KiB);
  memory.giveBack(small);
  expect([memory.kept, small.length]).toEqual([0, 10 * KiB]);
});

test('no more is kept than may be, of those that came last; what is too large is empty all the same', () => {
  const memory = new IndexMemory({ most: 1000 * KiB });
  const pieces = [300, 400, 500].map(size => memory.take(size * KiB));
  const sizes = pieces.map(({ buffer }) => buffer.byteLength);
  for (const piece of pieces) memory.giveBack(piece);
  expect(memory.kept).toBe(sizes[1]! + sizes[2]! > 1000 * KiB ? sizes[2] : sizes[1]! + sizes[2]!);
  const huge = memory.take(2000 * KiB);
  const kept = memory.kept;
  memory.giveBack(huge);
  expect([huge.length, memory.kept]).toEqual([0, kept]);
});

test('when no session comes for a while, nothing is kept', () => {
  vi.useFakeTimers();
  const memory = new IndexMemory({ keptFor: 5000 });
  memory.giveBack(memory.take(200 * KiB));
  vi.advanceTimersByTime(4000);
  memory.giveBack(memory.take(200 * KiB));
  vi.advanceTimersByTime(4000);
  expect(memory.kept).toBeGreaterThan(0);
  vi.advanceTimersByTime(1001);
  expect(memory.kept).toBe(0);
  memory.giveBack(memory.take(200 * KiB));
  expect(memory.kept).toBeGreaterThan(0);
  vi.advanceTimersByTime(5001);
  expect(memory.kept).toBe(0);
});

/** Says anything, wherever nobody has written. */
class Poisoned extends IndexMemory {
  override take(size: number): Buffer<ArrayBufferLike> {
    const octets = super.take(size);
    new Uint8Array(octets.buffer).fill(0xa5);
    return octets;
  }
}

const CACHED = { indexCache: 0 };

async function answersOf(maildrop: Maildrop) {
  const octets = Array.from({ length: maildrop.messages }, (_, i) => maildrop.octets(i + 1));
  const last = maildrop.messages === 0 ? '' : await collect(maildrop.retrieve(maildrop.messages));
  return { octets, ids: await maildrop.uniqueIds(), total: maildrop.totalOctets, last };
}

async function session(spool: Spool, indexMemory?: IndexMemory) {
  const overrides = indexMemory === undefined ? {} : { ...CACHED, indexMemory };
  const maildrop = await openAlice(spool, overrides);
  try {
    return await answersOf(maildrop);
  } finally {
    await maildrop.release();
  }
}

test('whatever the memory says: indexes of other lengths, deliveries, what is kept', async () => {
  const indexMemory = new Poisoned({ least: 0 });
  const kept: string[] = [];
  for (const memory of [indexMemory, new IndexMemory()]) {
    const spool = spoolWith(messages(30).join(''));
    await sleep(SETTLED);
    for (const deliveries of [0, 0, 1, 3, 70, 2]) {
      for (let n = 0; n < deliveries; n++) appendFileSync(spool.mailbox, message(`new ${n}`));
      expect(await session(spool, memory)).toEqual(await session(spool));
    }
    writeFileSync(spool.mailbox, messages(12).join(''));
    await sleep(SETTLED);
    for (let n = 0; n < 2; n++) expect(await session(spool, memory)).toEqual(await session(spool));
    const octets = readFileSync(join(spool.stateDir, 'alice', 'index'));
    // All but what tells one mailbox file, and one time, from another.
    kept.push(octets.subarray(28, 40).toString('hex') + octets.subarray(88).toString('hex'));
  }
  expect(kept[0]).toBe(kept[1]);
});

test('a maildrop that is closed says nothing of its index, or of that of the next session', async () => {
  const indexMemory = new IndexMemory({ least: 0 });
  const spool = spoolWith(messages(30).join(''));
  await sleep(SETTLED);
  await session(spool, indexMemory);
  const closed = await openAlice(spool, { ...CACHED, indexMemory });
  await closed.uniqueIds();
  await closed.release();
  const next = await openAlice(spool, { ...CACHED, indexMemory });
  expect(() => closed.octets(1)).toThrow('given back');
  expect(() => closed.retrieve(1)).toThrow('given back');
  await expect(closed.mark(1)).rejects.toThrow('given back');
  expect(next.octets(1)).toBeGreaterThan(0);
  await next.release();
});

/** Knows who has what. */
class Counted extends IndexMemory {
  readonly taken = new Set<ArrayBufferLike>();
  twice = 0;

  override take(size: number): Buffer<ArrayBufferLike> {
    const octets = super.take(size);
    this.taken.add(octets.buffer);
    return octets;
  }

  override giveBack(octets: Buffer<ArrayBufferLike>): void {
    if (!this.taken.delete(octets.buffer)) this.twice++;
    super.giveBack(octets);
  }
}

type Failing = (call: string, path: string) => string | undefined;
const failing = (wanted: string, ending: RegExp, errno: string): Failing => {
  return (call, path) => (call === wanted && ending.test(path) ? errno : undefined);
};

test.each<[string, Failing]>([
  ['nothing fails', () => undefined],
  ['the index cannot be read', failing('read', /index$/, 'EIO')],
  ['the index cannot be closed', failing('close', /index$/, 'EIO')],
  ['the mailbox cannot be read', failing('read', /alice$/, 'EIO')],
  ['the mailbox cannot be opened', failing('open', /alice$/, 'EMFILE')],
  ['the mailbox cannot be looked at', failing('fstat', /alice$/, 'EIO')],
  ['the next index cannot be written', failing('write', /index\.new$/, 'ENOSPC')],
])('each session gives its memory back once: %s', async (_, failure) => {
  const indexMemory = new Counted({ least: 0 });
  const spool = spoolWith(messages(30).join(''));
  await sleep(SETTLED);
  // What that leaves on its shelf is none of this.
  await session(spool, new IndexMemory());
  indexMemory.giveBack(indexMemory.take(4096));
  appendFileSync(spool.mailbox, message(31));
  const io = meteredIo(failure);
  const host = await mailSpool(spool, { ...CACHED, indexMemory, io });
  const open = () => host.open({ user: 'alice' }, PEER, BUSY);
  const first = await open().catch((error: unknown) => error);
  if (first instanceof Error) {
    expect(first).toBeInstanceOf(Unavailable);
  } else {
    const maildrop = first as Maildrop;
    // Its index is already being read when it turns out that somebody else has the maildrop.
    await expect(open()).rejects.toMatchObject({ code: 'IN-USE' });
    await maildrop.mark(2).catch((error: unknown) => expect(error).toBeInstanceOf(Error));
    await maildrop.update().catch((error: unknown) => expect(error).toBeInstanceOf(Error));
    await maildrop.release();
  }
  await expect.poll(() => indexMemory.taken.size, { timeout: 20_000 }).toBe(0);
  expect(indexMemory.twice).toBe(0);
  const kept = indexMemory.kept;
  expect(kept).toBeGreaterThan(0);
  expect(await session(spool, indexMemory)).toEqual(await session(spool));
});

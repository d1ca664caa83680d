/**
 * The memory in which replies are put together, and which the kernels write: nothing of it is used again before the
 * connection refers to it no more, whatever becomes of the connection, and none of it is ever lost. Messages are
 * copied there once.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { StaticUsers } from '../../lib/auth/static-users.js';
import { LIBRARY_DEFAULTS } from '../../lib/config.js';
import { loadHost } from '../../lib/host/load.js';
import { silentLog } from '../../lib/log.js';
import type { Pool } from '../../lib/mbox/kernel/memory.js';
import { CAPACITY, Output, OutputPlaces } from '../../lib/server/output.js';
import { serve } from '../../lib/server/session.js';
import { createServices } from '../../lib/services.js';
import { message, spoolWith } from '../support/mailbox.js';
import { openAlice } from '../support/maildrop.js';
import { requireKernel } from '../support/oracle-tools.js';

const kernel = requireKernel();

/** A connection that refers to what is written, as a socket does, until it is told to take it. */
class Slow extends Duplex {
  received = '';
  #waiting: { chunk: Buffer; done: (error?: Error) => void } | undefined;

  get holds(): boolean {
    return this.#waiting !== undefined;
  }

  takeIt(): void {
    const { chunk, done } = this.#waiting!;
    this.#waiting = undefined;
    this.received += chunk.toString('latin1');
    done();
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.#waiting = { chunk, done };
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#waiting?.done(new Error('EPIPE'));
    this.#waiting = undefined;
    done(error);
  }
}

/** How many pieces of a pool nobody has. */
function free(pool: Pool): number {
  const taken: Buffer[] = [];
  for (let piece = pool.take(); piece !== undefined; piece = pool.take()) taken.push(piece);
  for (const piece of taken.reverse()) pool.giveBack(piece);
  return taken.length;
}

const turn = () => new Promise(resolve => setImmediate(resolve));

const NAMES = Array.from({ length: 40 }, (_, i) => `user${i}`);
const stored = (name: string) => message(name, `${name}\n.${name}\n`.repeat(16_000));

/** A server of a mailbox for each name, as the program puts it together. */
async function services() {
  const spool = spoolWith('');
  for (const name of NAMES) writeFileSync(join(spool.dir, name), stored(name), { mode: 0o600 });
  const { host } = await loadHost();
  const { dir, stateDir, runtimeDir } = spool;
  const made = createServices(
    { ...LIBRARY_DEFAULTS, spool: dir, stateDir, runtimeDir },
    {
      host,
      log: silentLog,
      authenticator: new StaticUsers(Object.fromEntries(NAMES.map(name => [name, 'x']))),
      ownerOf: () => process.geteuid!(),
    },
  );
  await made.warmUp();
  return made;
}

const freeNow = () => [free(kernel.memory.places), free(kernel.memory.blocks)];

test('more slow clients than there are places, some of which are lost: every octet is as it was put', async () => {
  const served = await services();
  const before = freeNow();
  const sessions = NAMES.map((name, i) => {
    const stream = new Slow();
    const over = serve(stream, { address: '192.0.2.1', port: i + 1 }, served);
    stream.push(`USER ${name}\r\nPASS x\r\nRETR 1\r\nQUIT\r\n`);
    return { name, stream, over };
  });
  let [fewest, rounds] = [Number.POSITIVE_INFINITY, 0];
  for (let left = sessions; left.length > 0; left = left.filter(({ stream }) => !stream.destroyed)) {
    // All of them refer to something at the same time, and take it in another order each time.
    while (left.some(({ stream }) => !stream.holds && !stream.destroyed && !stream.writableFinished))
      await turn();
    fewest = Math.min(fewest, free(kernel.memory.places));
    rounds++;
    if (rounds === 6) for (const { stream } of sessions.slice(0, 5)) stream.destroy();
    for (const { stream } of rounds % 2 === 0 ? left : left.toReversed()) if (stream.holds) stream.takeIt();
    for (const { stream } of left) if (stream.writableFinished) stream.destroy();
  }
  await Promise.all(sessions.map(({ over }) => over));

  expect([fewest, rounds > 6]).toEqual([0, true]);
  for (const { name, stream } of sessions.slice(5)) {
    const reply = /\+OK \d+ octets\r\n(.*?\r\n)\.\r\n\+OK [^\r]*\r\n$/s.exec(stream.received)?.[1];
    const whole = stored(name).slice(0, -1);
    const wire = whole
      .slice(whole.indexOf('\n') + 1)
      .replaceAll('\n', '\r\n')
      .replaceAll('\n.', '\n..');
    expect(reply === wire).toBe(true);
  }
  expect(freeNow()).toEqual(before);
});

test('clients that are lost at any moment of a reply cost no place', async () => {
  const served = await services();
  const before = freeNow();
  const lost = NAMES.map(async (name, turns) => {
    const stream = new Slow();
    const over = serve(stream, { address: '192.0.2.1', port: turns + 1 }, served);
    stream.push(`USER ${name}\r\nPASS x\r\n`);
    while (!/maildrop|octets/.test(stream.received)) {
      if (stream.holds) stream.takeIt();
      await turn();
    }
    stream.push('STAT\r\nLIST\r\nRETR 1\r\nRETR 1\r\n');
    for (let i = 0; i < turns; i++) {
      if (i % 4 === 3 && stream.holds) stream.takeIt();
      await turn();
    }
    stream.destroy();
    await over;
  });
  await Promise.all(lost);
  expect(freeNow()).toEqual(before);
});

test('nor does a reply that is never sent', () => {
  const places = new OutputPlaces();
  places.prefer(kernel.memory.places);
  const before = free(kernel.memory.places);
  const output = new Output({ write: async () => {} }, places);
  output.text('+OK\r\n');
  expect(free(kernel.memory.places)).toBe(before);
  output.discard();
  output.place();
  expect(free(kernel.memory.places)).toBe(before - 1);
  output.discard();
  output.discard();
  expect(free(kernel.memory.places)).toBe(before);
});

test('a message is copied once, from where it was read to where it is sent from', async () => {
  const stored = message('a', 'A line\n.dot\n'.repeat(30_000));
  const maildrop = await openAlice(spoolWith(stored), { kernel });
  const { shared, places } = kernel.memory;
  const place = places.take()!;
  shared.fill('#');
  for (const reader of [maildrop.retrieve(1), maildrop.top(1, 10_000)]) {
    while ((await reader.read(place)) > 0);
    expect(reader.octets).toBeGreaterThan(70_000);
  }
  // Nothing went through the memory that is for octets that are elsewhere.
  expect(shared.equals(Buffer.alloc(shared.length, '#'))).toBe(true);
  places.giveBack(place);
  await maildrop.release();
});

test('the places of the kernels are of the size that replies want', () => {
  expect(kernel.memory.places.size).toBe(CAPACITY);
  const places = new OutputPlaces();
  places.prefer(kernel.memory.places);
  const taken = Array.from({ length: 40 }, () => places.take());
  expect(taken.filter(place => kernel.addressOf(place) >= 0).length).toBe(32);
  for (const place of taken) expect(place.length).toBe(CAPACITY);
  for (const place of taken) places.giveBack(place);
  expect(free(kernel.memory.places)).toBe(32);
});

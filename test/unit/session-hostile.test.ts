/** Clients that mean harm, or are broken: each gets little, costs little, and harms nobody. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, expect, test } from 'vitest';
import type { MessageReader } from '../../lib/pop3/ports.js';
import { MAX_DISCARDED, MAX_LINE } from '../../lib/pop3/request.js';
import { MemoryMaildrop, MemoryWorld } from '../support/memory-maildrop.js';
import { MemorySession, turns } from '../support/memory-session.js';
import { PieceReader } from '../support/message-reader.js';

const MiB = 1 << 20;
const VERBS = 'USER PASS APOP CAPA QUIT STAT LIST UIDL RETR TOP DELE NOOP RSET LAST AUTH STLS XTND'.split(
  ' ',
);
const LENGTHS = [0, 1, 40, 41, 247, 248, 254, 255, 256, 511, 512, 513, 4096, MAX_DISCARDED - 20];

describe.each([false, true])('C1: logged in: %s', loggedIn => {
  test.each(VERBS)('%s with an argument of any length has one reply', async verb => {
    const world = new MemoryWorld({ maxBadCommands: 1000, maxBadCommandsBeforeLogin: 1000 });
    for (const length of LENGTHS) {
      const session = new MemorySession(world);
      if (loggedIn) await session.logIn();
      await session.until(received => received.endsWith('\r\n'));
      session.received = '';
      session.send(`${verb}${length === 0 ? '' : ` ${'A'.repeat(length)}`}\r\n`);
      session.send('BAD 1\r\n');
      session.client.end();
      const replies = await session.rest();
      await session.done;
      const [first, ...rest] = replies.split('\r\n');
      expect(first).toMatch(/^(\+OK|-ERR) /);
      if (`${verb} `.length + length + 2 > MAX_LINE) expect(first).toBe('-ERR command line too long');
      const quit = verb === 'QUIT' && length === 0;
      const lines = /^(CAPA|LIST|UIDL|AUTH)$/.test(verb) && length === 0 && first?.startsWith('+OK');
      // Whatever it was, the next line is the next command.
      if (lines) expect(replies).toMatch(/\r\n\.\r\n-ERR unknown command, or not valid in this state\r\n$/);
      else expect(rest).toEqual(quit ? [''] : ['-ERR unknown command, or not valid in this state', '']);
    }
    expect(world.logged.filter(line => line.startsWith('error'))).toEqual([]);
  });

  test('a megabyte ends the session', async () => {
    const world = new MemoryWorld();
    const session = new MemorySession(world);
    if (loggedIn) await session.logIn();
    await session.until(received => received.endsWith('\r\n'));
    session.received = '';
    session.send(`PASS ${'A'.repeat(MiB)}\r\nQUIT\r\n`);
    expect(await session.rest()).toBe('-ERR command line too long\r\n');
    await session.done;
    expect(world.logged.at(-1)).toContain('reason=flooded');
  });
});

test('C2: 100 MB without a newline: one -ERR, closed, most of it never read', async () => {
  const world = new MemoryWorld();
  const session = new MemorySession(world);
  await session.until(received => received.endsWith('\r\n'));
  session.received = '';
  let offered = 0;
  const flood = Readable.from(
    (function* () {
      const chunk = Buffer.alloc(65_536, 'A');
      for (; offered < 100 * MiB; offered += chunk.length) yield chunk;
    })(),
    { objectMode: false, highWaterMark: 65_536 },
  );
  await expect(pipeline(flood, session.client)).rejects.toThrow();
  await session.done;
  expect(session.received).toBe('-ERR command line too long\r\n');
  expect(offered).toBeLessThan(MiB);
  expect(world.logged.at(-1)).toMatch(/^info 192\.0\.2\.1 no-login reason=flooded seconds=\d+$/);
});

test('C3: of lines that never end a hundred connections hold a bounded part', async () => {
  const world = new MemoryWorld();
  const sessions = Array.from({ length: 100 }, () => new MemorySession(world));
  await turns();
  const before = process.memoryUsage();
  for (let i = 0; i < MAX_LINE - 1; i += 73) for (const session of sessions) session.send('A'.repeat(73));
  await turns();
  const after = process.memoryUsage();
  // A few KiB a connection for streams and the like; the point is that it is no megabytes.
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(100 * 20 * 1024);
  for (const session of sessions) session.client.reset();
  await Promise.all(sessions.map(session => session.done));
});

describe('C6: trivial inputs', () => {
  test.each(['\r\n', '\n', '\r\r\n', '   \r\n', '\t\r\n', '\0\r\n', '\xff\xff\r\n', '.\r\n', '\x04\r\n'])(
    '%j has one -ERR, before and after login',
    async line => {
      const world = new MemoryWorld();
      const session = new MemorySession(world);
      expect(await session.ask(Buffer.from(line, 'latin1'))).toMatch(/^-ERR /);
      await session.logIn();
      expect(await session.ask(Buffer.from(line, 'latin1'))).toMatch(/^-ERR /);
      expect(await session.ask('STAT')).toBe('+OK 2 320');
      session.client.end();
      await session.done;
    },
  );

  test('a connection that says nothing', async () => {
    const world = new MemoryWorld();
    const session = new MemorySession(world);
    session.client.end();
    await session.done;
    expect(world.logged).toEqual([
      expect.stringMatching(/^debug 192\.0\.2\.1 no-login reason=closed seconds=\d+$/),
    ]);
  });

  test('RST after any number of octets of a reply: released, no error in the log', async () => {
    const script = 'USER mrose\r\nPASS tanstaaf\r\nLIST\r\nUIDL\r\nRETR 2\r\nTOP 1 1\r\nDELE 1\r\n';
    const world = new MemoryWorld();
    world.prepare = maildrop => {
      maildrop.chunk = 50;
    };
    const whole = new MemorySession(world);
    whole.send(script);
    whole.client.end();
    const length = (await whole.rest()).length;
    for (let cut = 0; cut < length; cut += 3) {
      const session = new MemorySession(world);
      session.client.on('data', () => session.received.length >= cut && session.client.reset());
      for (const octet of script) session.send(octet);
      session.client.end();
      await session.done;
    }
    expect(world.logged.filter(line => /^(error|warn)/.test(line))).toEqual([]);
    expect(world.maildrops.every(({ calls }) => calls.release === 1 && calls.update === 0)).toBe(true);
    expect(world.messagesOf('mrose')).toHaveLength(2);
  });
});

/** A maildrop of one message that is never in memory. */
class HugeMaildrop extends MemoryMaildrop {
  read = 0;

  constructor(private readonly size: number) {
    super([Buffer.from('\r\n')]);
  }

  override octets(): number {
    return this.size;
  }

  override retrieve(): MessageReader {
    return new PieceReader(this.chunks());
  }

  private *chunks(): Generator<Uint8Array> {
    const chunk = Buffer.from(`${'.'.repeat(62)}\r\n`.repeat(1024));
    for (; this.read < this.size; this.read += chunk.length) yield chunk;
  }
}

describe('slow reader', () => {
  test('who reads nothing of a huge message stops it, and is ended by the idle timeout', async () => {
    const world = new MemoryWorld({ idleTimeout: 60 });
    const maildrop = new HugeMaildrop(64 * 65_536 * 100);
    world.services = { ...world.services, openMaildrop: async () => maildrop };
    const session = new MemorySession(world, { reading: false });
    session.send('USER mrose\r\nPASS tanstaaf\r\nRETR 1\r\n');
    await session.done;
    expect(maildrop.read).toBeLessThan(MiB);
    expect(maildrop.calls).toMatchObject({ update: 0, release: 1 });
    expect(world.logged.at(-1)).toMatch(/logout user=mrose reason=idle retr=0\/0 /);
  });

  test('who sends commands and reads no replies is not read from', async () => {
    const world = new MemoryWorld({ idleTimeout: 60 });
    const session = new MemorySession(world, { reading: false });
    let offered = 0;
    const flood = Readable.from(
      (function* () {
        yield 'USER mrose\r\nPASS tanstaaf\r\n';
        const chunk = 'NOOP\r\n'.repeat(1000);
        for (; offered < 100 * MiB; offered += chunk.length) yield chunk;
      })(),
      { objectMode: false },
    );
    await expect(pipeline(flood, session.client)).rejects.toThrow();
    await session.done;
    expect(offered).toBeLessThan(MiB);
    expect(world.logged.at(-1)).toContain('reason=idle');
  });

  test('who reads slowly, but reads, gets it all', async () => {
    const world = new MemoryWorld();
    const maildrop = new HugeMaildrop(2 * MiB);
    world.services = { ...world.services, openMaildrop: async () => maildrop };
    const session = new MemorySession(world, { reading: false });
    session.send('USER mrose\r\nPASS tanstaaf\r\nRETR 1\r\nQUIT\r\n');
    let octets = 0;
    for await (const chunk of session.client) {
      octets += chunk.length;
      if (octets % 7 === 0) await turns(1);
    }
    await session.done;
    // Each line begins with a dot, which is doubled.
    expect(octets).toBeGreaterThan(2 * MiB + (2 * MiB) / 64);
    expect(world.logged.at(-1)).toContain(`reason=quit retr=1/${2 * MiB} `);
  });
});

/** How long a client has been silent: what counts as a sign of it, and that we are not made to wait by our own work. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Acknowledged } from '../../lib/host/host.js';
import { Silence } from '../../lib/server/silence.js';
import { duplexPair } from '../support/duplex-pair.js';
import { MemoryWorld } from '../support/memory-maildrop.js';
import { MemorySession, turns } from '../support/memory-session.js';
import { readerOf } from '../support/message-reader.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A silence whose kernel says what the test wants. */
function withKernel() {
  const [, stream] = duplexPair();
  Object.assign(stream, { _handle: { fd: 7 } });
  const kernel = { tells: true, octets: 100, at: 0 };
  const asked = (): Acknowledged => ({ octets: kernel.octets, ago: performance.now() - kernel.at });
  const silence = new Silence(stream, fd => (fd === 7 && kernel.tells ? asked() : undefined));
  /** The other end has acknowledged so many octets more. */
  const acknowledge = (octets: number) =>
    Object.assign(kernel, { octets: kernel.octets + octets, at: performance.now() });
  return { kernel, silence, acknowledge };
}

describe('the length of a silence', () => {
  test('is none while we do not wait', () => {
    const { silence } = withKernel();
    vi.advanceTimersByTime(5000);
    expect(silence.length()).toBe(0);
    silence.begin();
    vi.advanceTimersByTime(5000);
    expect(silence.length()).toBe(5000);
    silence.end();
    expect(silence.length()).toBe(0);
  });

  test('ends with octets acknowledged, when they were', () => {
    const { silence, acknowledge } = withKernel();
    silence.begin();
    vi.advanceTimersByTime(2000);
    acknowledge(1);
    vi.advanceTimersByTime(3000);
    expect(silence.length()).toBe(3000);
    vi.advanceTimersByTime(1000);
    // Nothing new: a keepalive, a window that stays shut.
    acknowledge(0);
    expect(silence.length()).toBe(4000);
  });

  test('is not longer than we have waited, whenever the last acknowledgement was', () => {
    const { silence } = withKernel();
    vi.advanceTimersByTime(9000);
    silence.begin();
    vi.advanceTimersByTime(1000);
    expect(silence.length()).toBe(1000);
  });

  test('without a kernel that tells: since the stream took something', () => {
    const { silence, kernel } = withKernel();
    kernel.tells = false;
    silence.begin();
    vi.advanceTimersByTime(1000);
    silence.heard();
    vi.advanceTimersByTime(500);
    expect(silence.length()).toBe(500);
  });
});

describe('a session says that its client is silent', () => {
  async function loggedIn(world: MemoryWorld): Promise<MemorySession> {
    const session = new MemorySession(world);
    await session.logIn();
    await turns();
    return session;
  }

  test('from its last reply on; octets of a command are no command', async () => {
    const world = new MemoryWorld();
    const session = await loggedIn(world);
    const silent = () => world.holders[0]?.silence();
    vi.advanceTimersByTime(30_000);
    session.send('NOO');
    await turns();
    vi.advanceTimersByTime(30_000);
    expect(silent()).toBe(60_000);
    session.send('P\r\n');
    await turns();
    expect(silent()).toBe(0);
  });

  test('not while it works for it', async () => {
    const world = new MemoryWorld();
    let go = () => {};
    world.prepare = maildrop => {
      maildrop.uniqueIds = () =>
        new Promise(resolve => {
          go = () => resolve(['a', 'b']);
        });
    };
    const session = await loggedIn(world);
    session.send('UIDL\r\n');
    await turns();
    vi.advanceTimersByTime(300_000);
    expect(world.holders[0]?.silence()).toBe(0);
    go();
    await turns();
    session.client.destroy();
    await session.done;
  });

  test('in the middle of a message that it does not take; and not when it takes some', async () => {
    const world = new MemoryWorld();
    world.prepare = maildrop => {
      maildrop.octets = () => 1_000_000;
      maildrop.retrieve = readerOf(async function* () {
        for (let i = 0; i < 10; i++) yield Buffer.alloc(100_000, 'x\r\n');
      });
    };
    const session = new MemorySession(world);
    await session.logIn();
    session.client.removeAllListeners('data').pause();
    session.send('RETR 1\r\n');
    await turns();
    vi.advanceTimersByTime(59_000);
    expect(world.holders[0]?.silence()).toBe(59_000);
    // A slow client: more than the buffer between us, less than the message.
    for (let i = 0; i < 2; i++) {
      while (session.client.read() !== null);
      await turns();
    }
    expect(world.holders[0]?.silence()).toBe(0);
    session.client.destroy();
    await session.done;
  });

  test('and is ended by a takeover: nothing said, nothing removed', async () => {
    const world = new MemoryWorld();
    const session = await loggedIn(world);
    await session.ask('DELE 1');
    session.received = '';
    world.holders[0]?.cut();
    expect(await session.rest()).toBe('');
    await session.done;
    expect(world.maildrops[0]?.calls).toMatchObject({ update: 0, release: 1 });
    expect(world.logged.at(-1)).toMatch(/ logout user=mrose reason=taken-over .* deleted=0 left=2 /);
  });
});

describe('the idle timeout', () => {
  test('of a client that takes octets from the kernel comes later', async () => {
    const kernel = { octets: 1, at: 0 };
    const world = new MemoryWorld({ idleTimeout: 600_000, takeover: 60_000 });
    world.services = {
      ...world.services,
      askKernel: () => ({ octets: kernel.octets, ago: performance.now() - kernel.at }),
    };
    const session = new MemorySession(world);
    Object.assign(session.server, { _handle: { fd: 7 } });
    await session.logIn();
    await vi.advanceTimersByTimeAsync(570_000);
    Object.assign(kernel, { octets: 2, at: performance.now() });
    await vi.advanceTimersByTimeAsync(599_000);
    expect(session.server.destroyed).toBe(false);
    await vi.advanceTimersByTimeAsync(2000);
    await session.done;
    expect(world.logged.at(-1)).toContain('reason=idle');
  });

  test('of a process that was stopped: what has come meanwhile is read first', async () => {
    const world = new MemoryWorld({ idleTimeout: 600_000, takeover: 0 });
    const session = new MemorySession(world);
    await session.logIn();
    await turns();
    session.received = '';
    // In one turn, as after SIGCONT: the timer is over, and then the line is there.
    vi.advanceTimersByTime(600_000);
    session.send('QUIT\r\n');
    expect(await session.rest()).toMatch(/^\+OK /);
    await session.done;
    expect(world.logged.at(-1)).toContain('reason=quit');
  });
});

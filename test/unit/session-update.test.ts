/** C11: UPDATE happens for a complete QUIT line and for nothing else; and what is said is what was done. */
import { describe, expect, test, vi } from 'vitest';
import { Disconnected, Unavailable } from '../../lib/errors.js';
import { MemoryWorld } from '../support/memory-maildrop.js';
import { MemorySession, timersByHand, turns } from '../support/memory-session.js';
import { readerOf } from '../support/message-reader.js';

async function marked(world: MemoryWorld): Promise<MemorySession> {
  const session = new MemorySession(world);
  await session.logIn();
  expect(await session.ask('DELE 1')).toBe('+OK message 1 deleted');
  return session;
}

/** Nothing was removed, everything was released, and the log says why. */
function expectUntouched(world: MemoryWorld, reason: string): void {
  for (const maildrop of world.maildrops) {
    expect(maildrop.calls.update).toBe(0);
    expect(maildrop.calls.release).toBe(1);
  }
  expect(world.messagesOf('mrose').map(message => message.length)).toEqual([120, 200]);
  expect(world.logged.at(-1)).toMatch(
    new RegExp(`^info 192.0.2.1 logout user=mrose reason=${reason} .* deleted=0 left=2 seconds=\\d+$`),
  );
}

describe('C11: DELE, then', () => {
  test('FIN', async () => {
    const world = new MemoryWorld();
    const session = await marked(world);
    session.client.end();
    await session.done;
    expectUntouched(world, 'closed');
  });

  test('RST', async () => {
    const world = new MemoryWorld();
    const session = await marked(world);
    session.client.reset();
    await session.done;
    expectUntouched(world, 'closed');
  });

  test.each(['Q', 'QUIT', 'QUIT\r', 'QUIT '])('%j and FIN', async octets => {
    const world = new MemoryWorld();
    const session = await marked(world);
    session.send(octets);
    session.client.end();
    await session.done;
    expectUntouched(world, 'closed');
  });

  test.each(['QUITX\r\n', 'QUIT 1\r\n', 'QUIT\0\r\n', ' QUIT\r\n', `${'x'.repeat(600)}QUIT\r\n`])(
    '%j, which is no QUIT',
    async octets => {
      const world = new MemoryWorld();
      const session = await marked(world);
      expect(await session.ask(Buffer.from(octets))).toMatch(/^-ERR /);
      session.client.end();
      await session.done;
      expectUntouched(world, 'closed');
    },
  );

  test('silence: the idle timeout, without a word', async () => {
    timersByHand();
    const world = new MemoryWorld({ idleTimeout: 600_000 });
    const session = await marked(world);
    session.received = '';
    await turns();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(await session.rest()).toBe('');
    await session.done;
    expectUntouched(world, 'idle');
  });

  test('a line that never ends does not put the idle timeout off', async () => {
    timersByHand();
    const world = new MemoryWorld({ idleTimeout: 600_000 });
    const session = await marked(world);
    await turns();
    for (let minute = 1; minute < 10; minute++) {
      await vi.advanceTimersByTimeAsync(60_000);
      session.send('N');
      await turns();
    }
    expect(session.client.destroyed).toBe(false);
    await vi.advanceTimersByTimeAsync(60_000);
    await session.done;
    expectUntouched(world, 'idle');
  });

  test('shutdown', async () => {
    const world = new MemoryWorld();
    const session = await marked(world);
    session.received = '';
    session.shutDown();
    expect(await session.rest()).toBe('');
    await session.done;
    expectUntouched(world, 'shutdown');
  });

  test('shutdown with QUIT not yet read', async () => {
    const world = new MemoryWorld();
    const session = await marked(world);
    session.shutDown();
    session.send('QUIT\r\n');
    await session.done;
    expectUntouched(world, 'shutdown');
  });

  test('the transport destroying the stream', async () => {
    const world = new MemoryWorld();
    const session = await marked(world);
    session.server.destroy();
    await session.done;
    expectUntouched(world, 'closed');
  });

  test('too many bad commands', async () => {
    const world = new MemoryWorld({ maxBadCommands: 2 });
    const session = await marked(world);
    session.send('X\r\nX\r\nQUIT\r\n');
    await session.done;
    expectUntouched(world, 'bad-commands');
  });

  test('a message that breaks off', async () => {
    const world = new MemoryWorld();
    world.prepare = maildrop => {
      maildrop.retrieve = readerOf(async function* () {
        yield Buffer.from('Subject: half\r\n');
        throw new Error('mailbox changed');
      });
    };
    const session = await marked(world);
    session.received = '';
    session.send('RETR 2\r\nQUIT\r\n');
    expect(await session.rest()).not.toContain('.\r\n');
    await session.done;
    expectUntouched(world, 'error');
    expect(world.logged.at(-2)).toContain('error 192.0.2.1 reply-cut command=RETR');
  });

  test('a bug', async () => {
    const world = new MemoryWorld();
    world.prepare = maildrop => {
      maildrop.uniqueIds = async () => {
        throw new TypeError('x is not a function');
      };
    };
    const session = await marked(world);
    session.received = '';
    session.send('UIDL\r\nQUIT\r\n');
    expect(await session.rest()).toBe('-ERR [SYS/TEMP] internal error\r\n');
    await session.done;
    expectUntouched(world, 'error');
    expect(world.logged.at(-2)).toMatch(/^error 192.0.2.1 internal-error command=UIDL .*TypeError.* at1=/);
  });

  test('the maildrop taken over by another session: nothing is said', async () => {
    const world = new MemoryWorld();
    world.prepare = maildrop => {
      maildrop.uniqueIds = async () => {
        throw new Disconnected('taken over');
      };
    };
    const session = await marked(world);
    session.received = '';
    session.send('UIDL\r\nQUIT\r\n');
    expect(await session.rest()).toBe('');
    await session.done;
    expectUntouched(world, 'maildrop-lost');
  });
});

describe('QUIT', () => {
  test('removes, then says so, then closes', async () => {
    const world = new MemoryWorld();
    const session = await marked(world);
    expect(await session.ask('QUIT')).toBe('+OK mbox-pop3d signing off (1 message left)');
    await session.done;
    expect(world.maildrops[0]?.calls).toMatchObject({ update: 1, release: 1 });
    expect(world.messagesOf('mrose').map(message => message.length)).toEqual([200]);
    expect(world.logged.at(-1)).toMatch(
      /^info 192\.0\.2\.1 logout user=mrose reason=quit retr=0\/0 top=0\/0 deleted=1 left=1 seconds=\d+$/,
    );
  });

  test('is heard though the client has already gone', async () => {
    const world = new MemoryWorld();
    const session = await marked(world);
    session.send('QUIT\r\n');
    session.client.reset();
    await session.done;
    expect(world.maildrops[0]?.calls).toMatchObject({ update: 1, release: 1 });
    expect(world.logged.at(-1)).toContain('reason=quit');
  });

  test('UPDATE is not interrupted: not by the client, shutdown, or a timer', async () => {
    timersByHand();
    const world = new MemoryWorld({ idleTimeout: 600_000 });
    let finish = () => {};
    world.prepare = maildrop => {
      const { update } = maildrop;
      maildrop.update = async () => {
        await new Promise<void>(resolve => {
          finish = resolve;
        });
        return update.call(maildrop);
      };
    };
    const session = await marked(world);
    session.send('QUIT\r\n');
    await turns();
    session.shutDown();
    session.client.destroy();
    await vi.advanceTimersByTimeAsync(1_200_000);
    expect(world.maildrops[0]?.calls.release).toBe(0);
    finish();
    await session.done;
    expect(world.maildrops[0]?.calls).toMatchObject({ update: 1, release: 1 });
    expect(world.messagesOf('mrose')).toHaveLength(1);
    expect(world.logged.at(-1)).toContain('reason=quit');
  });

  test.each([
    [new Unavailable('SYS/TEMP', 'disk full', { cause: new Error('ENOSPC') }), 'SYS/TEMP', 'warn'],
    [new Unavailable('IN-USE', 'locked'), 'IN-USE', 'warn'],
    [new RangeError('bug'), 'SYS/TEMP', 'error'],
  ])('says -ERR, once, when UPDATE failed: %s', async (failure, code, level) => {
    const world = new MemoryWorld();
    world.prepare = maildrop => {
      maildrop.updateFailure = failure;
    };
    const session = await marked(world);
    session.received = '';
    session.send('QUIT\r\n');
    expect(await session.rest()).toBe(`-ERR [${code}] some deleted messages not removed\r\n`);
    await session.done;
    expect(world.maildrops[0]?.calls).toMatchObject({ update: 1, release: 1 });
    expect(world.logged.at(-2)).toMatch(new RegExp(`^${level} 192.0.2.1 update-failed `));
    expect(world.logged.at(-1)).toContain('reason=unavailable retr=0/0 top=0/0 deleted=0 left=2');
  });

  test('a message asked for in the same packet must have left before it is removed', async () => {
    const world = new MemoryWorld();
    const session = new MemorySession(world);
    await session.logIn();
    session.send('RETR 1\r\nDELE 1\r\nQUIT\r\n');
    session.client.reset();
    await session.done;
    expectUntouched(world, 'closed');
  });

  test('DELE of a read-only maildrop says why, and the session goes on', async () => {
    const world = new MemoryWorld();
    world.prepare = maildrop => {
      maildrop.markFailure = new Unavailable('SYS/PERM', 'this server is read-only');
    };
    const session = new MemorySession(world);
    await session.logIn();
    expect(await session.ask('DELE 1')).toBe('-ERR [SYS/PERM] this server is read-only');
    expect(await session.ask('STAT')).toBe('+OK 2 320');
    expect(await session.ask('QUIT')).toBe('+OK mbox-pop3d signing off (2 messages left)');
    await session.done;
  });

  test('an Unavailable that is fatal ends the session without UPDATE', async () => {
    const world = new MemoryWorld();
    const session = await marked(world);
    const [maildrop] = world.maildrops;
    if (!maildrop) throw new Error('no maildrop');
    maildrop.retrieve = () => {
      throw new Unavailable('SYS/TEMP', 'the mailbox was changed', { fatal: true });
    };
    session.received = '';
    session.send('RETR 2\r\nQUIT\r\n');
    expect(await session.rest()).toBe('-ERR [SYS/TEMP] the mailbox was changed\r\n');
    await session.done;
    expectUntouched(world, 'unavailable');
  });
});

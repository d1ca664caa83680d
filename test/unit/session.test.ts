/** One connection from greeting to end: logging in, pipelining, limits, what reaches the log. */
import { once } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { Unavailable } from '../../lib/errors.js';
import { authorization } from '../../lib/pop3/authorization.js';
import type { Verdict } from '../../lib/pop3/ports.js';
import { transaction } from '../../lib/pop3/transaction.js';
import { KeyedLimit } from '../../lib/server/limits.js';
import { untilAnswer } from '../../lib/server/login.js';
import { DEFAULT_SESSION_SETTINGS } from '../../lib/server/session.js';
import { Throttle } from '../../lib/server/throttle.js';
import { type MemoryMaildrop, MemoryWorld } from '../support/memory-maildrop.js';
import { MemorySession, timersByHand, turns } from '../support/memory-session.js';
import { readerOf } from '../support/message-reader.js';

const LOGIN = 'USER mrose\r\nPASS tanstaaf\r\n';

function only(world: MemoryWorld): MemoryMaildrop {
  const [maildrop, ...others] = world.maildrops;
  if (!maildrop || others.length > 0) throw new Error(`${world.maildrops.length} maildrops`);
  return maildrop;
}

test('C5: commands sent along with the login are executed once, in order', async () => {
  const world = new MemoryWorld();
  const session = new MemorySession(world);
  session.send(`${LOGIN}STAT\r\nDELE 1\r\nSTAT\r\nQUIT\r\n`);
  const greeting = '+OK mbox-pop3d at localhost ready\r\n';
  expect(await session.rest()).toBe(
    `${greeting}+OK send PASS\r\n+OK maildrop has 2 messages (320 octets)\r\n+OK 2 320\r\n` +
      '+OK message 1 deleted\r\n+OK 1 200\r\n+OK mbox-pop3d signing off (1 message left)\r\n',
  );
  await session.done;
  expect(world.logins).toEqual(['mrose']);
  expect(only(world).calls).toMatchObject({ mark: 1, update: 1, release: 1 });
});

test('the replies to pipelined commands leave together', async () => {
  const world = new MemoryWorld();
  const session = new MemorySession(world);
  await session.logIn();
  const write = vi.spyOn(session.server, '_write');
  session.send('NOOP\r\n'.repeat(500));
  session.received = '';
  await session.until(received => received.split('\r\n').length === 501);
  expect(write.mock.calls.length).toBeLessThan(5);
  session.client.end();
  await session.done;
});

test('a pipeline much longer than any buffer is answered in full', async () => {
  const world = new MemoryWorld();
  const session = new MemorySession(world);
  await session.logIn();
  session.received = '';
  session.send(`${'NOOP\r\n'.repeat(100_000)}QUIT\r\n`);
  const replies = (await session.rest()).split('\r\n');
  expect(replies).toHaveLength(100_002);
  expect(new Set(replies.slice(0, -2))).toEqual(new Set(['+OK nothing done']));
  await session.done;
});

test('C9: CAPA lists what works, and nothing else is there', async () => {
  const world = new MemoryWorld();
  const session = new MemorySession(world);
  await session.ask('CAPA');
  await session.until(received => received.endsWith('\r\n.\r\n'));
  const words = session.received.split(/[\s]+/);
  expect([...authorization.keys()]).toEqual(['USER', 'PASS', 'APOP', 'AUTH', 'CAPA', 'STLS', 'QUIT']);
  expect([...transaction.keys()].filter(verb => words.includes(verb))).toEqual(['UIDL', 'TOP']);
  await session.logIn();
  for (const verb of ['XTND', 'MDEF', 'EUIDL', 'XSENDER', 'LANG', 'UTF8', 'STLS', 'AUTH', 'LAST', 'RPOP']) {
    expect(await session.ask(verb)).toBe('-ERR unknown command, or not valid in this state');
  }
  expect(await session.ask('STAT')).toBe('+OK 2 320');
  session.client.end();
  await session.done;
});

describe('logging in', () => {
  test('the log has one line for it, with what it found', async () => {
    const world = new MemoryWorld();
    const session = new MemorySession(world);
    await session.logIn();
    expect(world.logged).toEqual(['info 192.0.2.1 login user=mrose method=USER messages=2 octets=320']);
    session.client.end();
    await session.done;
  });

  test('C8: whatever was wrong, the client sees the same and the log the reason, once, without password', async () => {
    const world = new MemoryWorld();
    const session = new MemorySession(world);
    const seen = new Set<string>();
    for (const user of ['mrose', 'nosuchuser', '%s%n%d%o%j%c', 'a"b\\\x1b[31m\u00ff']) {
      await session.ask(`USER ${user}`);
      seen.add(await session.ask('PASS %s%n-sesame'));
    }
    expect([...seen]).toEqual(['-ERR [AUTH] Authentication failed']);
    expect(world.logged).toEqual([
      'info 192.0.2.1 login-failed user=mrose reason="wrong password" method=USER',
      'info 192.0.2.1 login-failed user=nosuchuser reason="unknown user" method=USER',
      'info 192.0.2.1 login-failed user="%s%n%d%o%j%c" reason="unknown user" method=USER',
      'info 192.0.2.1 login-failed user="a\\"b\\\\\\u001b[31m\\ufffd" reason="unknown user" method=USER',
    ]);
    session.client.end();
    await session.done;
  });

  test.each([
    [0, 1000, 1000],
    [1, 1000, 999],
    [999.5, 1000, 0.5],
    [1000, 1000, 0],
    [1200, 1000, 800],
    [5001, 1000, 999],
    [30, 0, 0],
  ])('a refusal after %d ms waits, by steps of %d ms, %d ms more', (elapsed, delay, wait) => {
    expect(untilAnswer(elapsed, delay)).toBeCloseTo(wait);
  });

  test('nothing is answered before the delay, and a client that leaves ends it', async () => {
    const world = new MemoryWorld({ failureDelay: 3_600_000 });
    const session = new MemorySession(world);
    session.send('USER mrose\r\nPASS wrong\r\n');
    // What came before is not held back meanwhile.
    await session.until(received => received.includes('send PASS\r\n'));
    await turns();
    expect(session.received).not.toContain('AUTH');
    session.client.reset();
    await session.done;
    expect(world.logged.at(-1)).toMatch(/^debug 192\.0\.2\.1 no-login reason=closed seconds=\d+$/);
  });

  test('C58: a guess counts and is logged, whether or not its client waits for the refusal', async () => {
    const world = new MemoryWorld();
    const throttle = new Throttle({ most: 15_000, mostWaiting: 10 });
    Object.assign(world.services, { throttle });
    for (let guess = 0; guess < 3; guess++) {
      let refuse = (_: Verdict) => {};
      const asked = new Promise<void>(resolve => {
        world.services.authenticator.checkPassword = () => {
          resolve();
          return new Promise(settle => {
            refuse = settle;
          });
        };
      });
      const session = new MemorySession(world);
      session.send('USER mrose\r\nPASS wrong\r\n');
      await asked;
      session.client.reset();
      await turns();
      refuse({ refused: 'wrong password' });
      await session.done;
    }
    const line = 'info 192.0.2.1 login-failed user=mrose reason="wrong password" method=USER';
    expect(world.logged.filter(logged => logged === line)).toHaveLength(3);
    const next = throttle.begin('192.0.2.1', Buffer.from('mrose'));
    expect(next?.wait).toBeGreaterThan(0);
    next?.abandoned();
  });

  test('a maildrop in use: the client may try again', async () => {
    const world = new MemoryWorld();
    let busy = true;
    world.prepare = () => {
      if (busy) throw new Unavailable('IN-USE', 'locked since 10:00 by 192.0.2.9');
    };
    const session = new MemorySession(world);
    await session.ask('USER mrose');
    expect(await session.ask('PASS tanstaaf')).toBe('-ERR [IN-USE] locked since 10:00 by 192.0.2.9');
    expect(await session.ask('STAT')).toMatch(/^-ERR unknown/);
    expect(world.logged.at(0)).toMatch(/^warn 192.0.2.1 login-failed user=mrose reason=IN-USE method=USER /);
    busy = false;
    await session.logIn();
    session.client.end();
    await session.done;
  });

  test('an authenticator that cannot tell is not a wrong password', async () => {
    const world = new MemoryWorld();
    world.services.authenticator.checkPassword = async () => {
      throw new Unavailable('SYS/TEMP', 'try again later', { cause: new Error('EACCES') });
    };
    const session = new MemorySession(world);
    await session.ask('USER mrose');
    expect(await session.ask('PASS tanstaaf')).toBe('-ERR [SYS/TEMP] try again later');
    expect(world.logged.at(0)).toContain('cause="Error: EACCES"');
    session.client.end();
    await session.done;
  });

  test('a client that leaves while the maildrop is being opened: it is released', async () => {
    const world = new MemoryWorld();
    let opened = () => {};
    world.prepare = () =>
      new Promise<void>(resolve => {
        opened = resolve;
      });
    const session = new MemorySession(world);
    session.send(`${LOGIN}DELE 1\r\nQUIT\r\n`);
    await turns();
    session.client.reset();
    await turns();
    opened();
    await session.done;
    expect(only(world).calls).toMatchObject({ mark: 0, update: 0, release: 1 });
  });

  test('no maildrop is opened for a client that has left', async () => {
    const world = new MemoryWorld();
    let checked = () => {};
    world.services.authenticator.checkPassword = async () => {
      await new Promise<void>(resolve => {
        checked = resolve;
      });
      return { account: { user: 'mrose' } };
    };
    const session = new MemorySession(world);
    session.send(LOGIN);
    await turns();
    session.client.reset();
    await turns();
    checked();
    await session.done;
    expect(world.maildrops).toEqual([]);
  });

  test('the login timeout is a deadline that no command puts off', async () => {
    const world = new MemoryWorld({ loginTimeout: 80 });
    const session = new MemorySession(world);
    const busy = setInterval(() => session.client.destroyed || session.send('CAPA\r\n'), 5);
    await session.done;
    clearInterval(busy);
    expect(world.logged.at(-1)).toMatch(/^info 192.0.2.1 no-login reason=login-timeout /);
  });

  test('the login timeout ends with the login', async () => {
    timersByHand();
    const world = new MemoryWorld({ loginTimeout: 60_000, idleTimeout: 600_000 });
    const session = new MemorySession(world);
    await session.logIn();
    await turns();
    await vi.advanceTimersByTimeAsync(300_000);
    expect(await session.ask('NOOP')).toBe('+OK nothing done');
    session.client.end();
    await session.done;
  });

  test('C55: a timestamp only with APOP, a different one each time', async () => {
    const seen = new Set<string>();
    for (const apop of [false, true, true]) {
      const world = new MemoryWorld({ apop, hostname: 'mail.example.org' });
      const session = new MemorySession(world);
      await session.until(received => received.endsWith('\r\n'));
      const [timestamp] = /<[!-;=?-~]+@mail\.example\.org>/.exec(session.received) ?? ['none'];
      seen.add(timestamp);
      session.client.end();
      await session.done;
    }
    expect(seen.size).toBe(3);
    expect(seen).toContain('none');
  });

  test.each(['evil\r\n-ERR', '<x@y>', '', 'a'.repeat(300)])('a hostname %j stays out', async hostname => {
    const world = new MemoryWorld({ apop: true, hostname });
    const session = new MemorySession(world);
    await session.until(received => received.endsWith('\r\n'));
    expect(session.received).toMatch(/^\+OK mbox-pop3d at localhost ready <[0-9a-f.]+@localhost>\r\n$/);
    session.client.end();
    await session.done;
  });
});

describe('C10: bad commands in a row', () => {
  async function bad(session: MemorySession, times: number): Promise<string[]> {
    const replies: string[] = [];
    for (let i = 0; i < times; i++) replies.push(await session.ask('BAD'));
    return replies;
  }

  test.each([
    ['before login', false, DEFAULT_SESSION_SETTINGS.maxBadCommandsBeforeLogin],
    ['after login', true, DEFAULT_SESSION_SETTINGS.maxBadCommands],
  ])('%s: the last one allowed, then a good one, then one too many', async (_, loggedIn, limit) => {
    const world = new MemoryWorld();
    const session = new MemorySession(world);
    if (loggedIn) await session.logIn();
    await bad(session, limit - 1);
    expect(await session.ask('CAPA')).toMatch(/^\+OK/);
    await session.until(received => received.endsWith('\r\n.\r\n'));
    const replies = await bad(session, limit);
    expect(new Set(replies.slice(0, -1)).size).toBe(1);
    expect(replies.at(-1)).toBe('-ERR too many bad commands');
    await session.rest();
    await session.done;
    expect(world.logged.at(-1)).toContain('reason=bad-commands');
  });
});

describe('before the login, words that are not of POP3', () => {
  test('what old clients try is none of them, though it is counted in the end', async () => {
    const world = new MemoryWorld();
    const session = new MemorySession(world);
    const tries = ['APOP x', 'STLS', 'UTF8', 'LANG', 'XTND XMIT', 'RPOP', 'LAST', 'STAT', 'QUOT', 'GOT'];
    for (const line of tries) expect(await session.ask(line)).toMatch(/^-ERR (?!too many)/);
    await session.logIn();
    session.client.end();
    await session.done;
    const stubborn = new MemorySession(world);
    const { maxBadCommands } = world.services.settings;
    for (let i = 1; i < maxBadCommands; i++) {
      expect(await stubborn.ask('STAT')).toMatch(/^-ERR (?!too many)/);
    }
    expect(await stubborn.ask('STAT')).toBe('-ERR too many bad commands');
    await stubborn.done;
  });
});

describe('shutdown', () => {
  test('lets a reply that is being sent finish, and runs no further command', async () => {
    const world = new MemoryWorld();
    const session = new MemorySession(world, { reading: false });
    const big = `${'x'.repeat(78)}\r\n`.repeat(5000);
    world.prepare = maildrop => {
      maildrop.stored.splice(0, 1, Buffer.from(big));
    };
    session.send(`${LOGIN}RETR 1\r\nDELE 1\r\nQUIT\r\n`);
    await turns();
    session.shutDown();
    await turns();
    session.read();
    expect((await session.rest()).endsWith(`+OK ${big.length} octets\r\n${big}.\r\n`)).toBe(true);
    await session.done;
    expect(only(world).calls).toMatchObject({ mark: 0, update: 0, release: 1 });
  });

  test('one signal ends many sessions, and Node has nothing to warn of', async () => {
    const warnings: unknown[] = [];
    const warn = (warning: unknown) => warnings.push(warning);
    process.on('warning', warn);
    const world = new MemoryWorld();
    const stop = new AbortController();
    const sessions = Array.from({ length: 30 }, () => new MemorySession(world, { stop }));
    await turns();
    stop.abort();
    await Promise.all(sessions.map(session => session.done));
    process.off('warning', warn);
    expect(warnings).toEqual([]);
  });

  test('before the greeting there is no greeting', async () => {
    const world = new MemoryWorld();
    const session = new MemorySession(world);
    session.shutDown();
    session.shutDown();
    await session.done;
    expect(session.server.destroyed).toBe(true);
  });
});

test('what failed before the first octet of a message is an -ERR, and the session goes on', async () => {
  const world = new MemoryWorld();
  world.prepare = maildrop => {
    maildrop.top = readerOf(async function* () {
      yield* [];
      throw new Unavailable('SYS/TEMP', 'cannot read the mailbox', { cause: new Error('EIO') });
    });
  };
  const session = new MemorySession(world);
  await session.logIn();
  expect(await session.ask('TOP 1 0')).toBe('-ERR [SYS/TEMP] cannot read the mailbox');
  expect(world.logged.at(-1)).toMatch(/^warn 192.0.2.1 unavailable command=TOP code=SYS\/TEMP .*EIO/);
  expect(await session.ask('STAT')).toBe('+OK 2 320');
  session.client.end();
  await session.done;
});

test.each([
  ['short', (n: number) => n - 2],
  ['long', (n: number) => n + 2],
])('a message that is too %s never ends cleanly', async (_, change) => {
  const world = new MemoryWorld();
  world.prepare = maildrop => {
    const { octets } = maildrop;
    maildrop.chunk = 30;
    maildrop.octets = n => change(octets.call(maildrop, n));
  };
  const session = new MemorySession(world);
  await session.logIn();
  session.received = '';
  session.send('RETR 1\r\n');
  expect(await session.rest()).not.toContain('\r\n.\r\n');
  await session.done;
  expect(world.logged.at(-2)).toMatch(/^error 192.0.2.1 reply-cut command=RETR message="BrokenContent: /);
});

test('what was sent is counted: messages, and octets before byte-stuffing', async () => {
  const world = new MemoryWorld();
  const session = new MemorySession(world);
  await session.logIn();
  session.send('RETR 1\r\nRETR 2\r\nTOP 1 0\r\nQUIT\r\n');
  await session.rest();
  await session.done;
  expect(world.logged.at(-1)).toContain('reason=quit retr=2/320 top=1/91 deleted=0 left=2');
});

test('the farewell is followed by our FIN, and a client that goes on talking is cut', async () => {
  const world = new MemoryWorld();
  const session = new MemorySession(world);
  session.client.allowHalfOpen = true;
  await session.until(received => received !== '');
  session.send(`QUIT\r\n${'NOOP\r\n'.repeat(10_000)}`);
  await once(session.client, 'end');
  expect(session.received).toContain('+OK mbox-pop3d signing off\r\n');
  expect(session.server.destroyed).toBe(false);
  session.client.end();
  await session.done;
  expect(session.server.destroyed).toBe(true);
});

test('max-connections-per-user: n-1 and n are let in, n+1 is not, and again when one has left', async () => {
  const world = new MemoryWorld();
  Object.assign(world.services, { users: new KeyedLimit(2) });
  const refused = '-ERR [SYS/TEMP] too many connections of this user, try again later';
  const logIn = async (user = 'mrose', password = 'tanstaaf') => {
    const session = new MemorySession(world);
    await session.ask(`USER ${user}`);
    return { session, reply: await session.ask(`PASS ${password}`) };
  };
  const first = await logIn();
  const second = await logIn();
  expect([first.reply, second.reply]).toEqual([
    expect.stringMatching(/^\+OK/),
    expect.stringMatching(/^\+OK/),
  ]);
  expect((await logIn()).reply).toBe(refused);
  // Another user's places are another user's, and a wrong password takes none.
  expect((await logIn('dots', 'secret')).reply).toMatch(/^\+OK/);
  for (let i = 0; i < 3; i++) expect((await logIn('spaces', 'wrong')).reply).toContain('[AUTH]');
  expect((await logIn('spaces', ' two  spaces ')).reply).toMatch(/^\+OK/);
  first.session.client.destroy();
  await first.session.done;
  expect((await logIn()).reply).toMatch(/^\+OK/);
  expect((await logIn()).reply).toBe(refused);
});

test('a login that finds no maildrop leaves its place', async () => {
  const world = new MemoryWorld();
  const users = new KeyedLimit(2);
  Object.assign(world.services, { users });
  world.prepare = () => {
    throw new Unavailable('IN-USE', 'in use');
  };
  const session = new MemorySession(world);
  for (let i = 0; i < 4; i++) {
    await session.ask('USER mrose');
    expect(await session.ask('PASS tanstaaf')).toContain('[IN-USE]');
  }
});

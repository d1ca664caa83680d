/** AUTH in a session: who is let in, what is refused where, and that an exchange is nobody else's business. */
import { createHmac } from 'node:crypto';
import { describe, expect, test, vi } from 'vitest';
import { Unavailable } from '../../lib/errors.js';
import type { Mechanism } from '../../lib/pop3/mechanisms.js';
import type { ProofMethod } from '../../lib/pop3/ports.js';
import { MAX_DISCARDED } from '../../lib/pop3/request.js';
import { MAX_RESPONSE } from '../../lib/pop3/sasl.js';
import { MemoryWorld } from '../support/memory-maildrop.js';
import { MemorySession, timersByHand, turns } from '../support/memory-session.js';
import { ScramClient } from '../support/scram-client.js';

const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64');
const PLAIN = base64('\0mrose\0tanstaaf');
const REFUSED = '-ERR [AUTH] Authentication failed';
const IN = '+OK maildrop has 2 messages (320 octets)';

/** What a `+ ` line says. */
function challenge(line: string): string {
  if (!line.startsWith('+ ')) throw new Error(line);
  return Buffer.from(line.slice(2), 'base64').toString('latin1');
}

async function byCram(session: MemorySession, user: string, password: string): Promise<string> {
  const asked = challenge(await session.ask('AUTH CRAM-MD5'));
  const digest = createHmac('md5', password).update(asked).digest('hex');
  return session.ask(base64(`${user} ${digest}`));
}

/** @returns the reply to the final message: a challenge with the server's signature, if all is well */
async function byScram(session: MemorySession, client: ScramClient): Promise<string> {
  const first = challenge(await session.ask(`AUTH ${client.method} ${base64(client.first)}`));
  return session.ask(base64(client.final(first)));
}

async function end(session: MemorySession): Promise<void> {
  session.client.end();
  await session.done;
}

describe('each mechanism', () => {
  test('CRAM-MD5', async () => {
    const world = new MemoryWorld({ hostname: 'pop.example.org' });
    const session = new MemorySession(world);
    const asked = challenge(await session.ask('AUTH CRAM-MD5'));
    expect(asked).toMatch(/^<[0-9a-f]{36}\.\d+@pop\.example\.org>$/);
    expect(await session.ask('*')).toBe('-ERR authentication cancelled');
    expect(await byCram(session, 'mrose', 'wrong')).toBe(REFUSED);
    expect(await byCram(session, 'mallory', 'tanstaaf')).toBe(REFUSED);
    expect(await byCram(session, 'mrose', 'tanstaaf')).toBe(IN);
    expect(world.logged.slice(1)).toEqual([
      'info 192.0.2.1 login-failed user=mrose reason="wrong proof" method=CRAM-MD5',
      'info 192.0.2.1 login-failed user=mallory reason="unknown user" method=CRAM-MD5',
      'info 192.0.2.1 login user=mrose method=CRAM-MD5 messages=2 octets=320',
    ]);
    await end(session);
  });

  test.each(['sha1', 'sha256'] as const)(
    'SCRAM, %s: both sides prove themselves before the login',
    async hash => {
      const world = new MemoryWorld();
      const session = new MemorySession(world);
      expect(await byScram(session, new ScramClient(hash, 'mrose', 'wrong'))).toBe(REFUSED);
      expect(await byScram(session, new ScramClient(hash, 'mallory', 'tanstaaf'))).toBe(REFUSED);
      const client = new ScramClient(hash, 'mrose', 'tanstaaf');
      expect(challenge(await byScram(session, client))).toBe(`v=${client.expected}`);
      expect(world.maildrops).toEqual([]);
      expect(await session.ask('')).toBe(IN);
      expect(world.logged.at(-1)).toContain(`login user=mrose method=${client.method} `);
      await end(session);
    },
  );

  test('C52: a SCRAM client that does not accept our signature is not logged in; what it says is no command', async () => {
    for (const answer of ['*', 'QUIT', base64('x')]) {
      const world = new MemoryWorld();
      const session = new MemorySession(world);
      await byScram(session, new ScramClient('sha256', 'mrose', 'tanstaaf'));
      expect(await session.ask(answer)).toMatch(/^-ERR [a-z]/);
      expect(world.maildrops).toEqual([]);
      expect(world.logged.find(line => line.includes('login-failed'))).toMatch(
        /^info 192.0.2.1 login-failed user=mrose reason="given up" method=SCRAM-SHA-256 message="/,
      );
      expect(await session.ask('STAT')).toMatch(/^-ERR/);
      await end(session);
    }
  });

  test('C53: no challenge is like another', async () => {
    const world = new MemoryWorld({ maxBadCommands: 10_000 });
    const session = new MemorySession(world);
    const seen = new Set<string>();
    for (let n = 0; n < 500; n++) {
      seen.add(challenge(await session.ask('AUTH CRAM-MD5')));
      await session.ask('*');
      seen.add(challenge(await session.ask(`AUTH SCRAM-SHA-256 ${base64('n,,n=mrose,r=x')}`)));
      await session.ask('*');
    }
    expect(seen.size).toBe(1000);
    const nonces = [...seen].flatMap(text => /^r=x([^,]+),/.exec(text)?.[1] ?? []);
    for (const nonce of nonces) expect(Buffer.from(nonce, 'base64')).toHaveLength(18);
    await end(session);
  });

  test('C43: ten wrong attempts by every mechanism, then wrong, then right', async () => {
    const world = new MemoryWorld({ maxBadCommands: 1000, maxLoginFailures: 1000 });
    const session = new MemorySession(world);
    const attempts = [
      () => session.ask(`AUTH PLAIN ${base64('\0mrose\0wrong')}`),
      () => byCram(session, 'mrose', 'wrong'),
      () => byScram(session, new ScramClient('sha1', 'mrose', 'wrong')),
      () => byScram(session, new ScramClient('sha256', 'mrose', 'wrong')),
      () => session.ask(`AUTH LOGIN ${base64('mrose')}`).then(() => session.ask(base64('wrong'))),
    ];
    for (let n = 0; n < 10; n++) for (const attempt of attempts) expect(await attempt()).toBe(REFUSED);
    for (const attempt of attempts.reverse()) expect(await attempt()).toBe(REFUSED);
    expect(await byCram(session, 'mrose', 'tanstaaf')).toBe(IN);
    await end(session);
  });
});

describe('lines of an exchange', () => {
  test('may be 15 KiB; a longer one is discarded with one -ERR, and the next line is a command', async () => {
    const whole = base64(`\0mrose\0${'x'.repeat((MAX_RESPONSE / 4 - 1) * 3 - 7)}`);
    for (const [line, reply] of [
      [whole, REFUSED],
      ['A'.repeat(MAX_RESPONSE - 2), '-ERR not base64'],
      ['A'.repeat(MAX_RESPONSE - 1), '-ERR response too long'],
      ['A'.repeat(MAX_DISCARDED - 100), '-ERR response too long'],
    ] as const) {
      const session = new MemorySession(new MemoryWorld());
      await session.ask('AUTH PLAIN');
      session.received = '';
      session.send(`${line}\r\nCAPA\r\n`);
      await session.until(received => received.endsWith('\r\n.\r\n'));
      const [first, second] = session.received.split('\r\n');
      expect(first).toBe(reply);
      expect(second).toBe('+OK capability list follows');
      await end(session);
    }
  });

  test('one without an end ends the session', async () => {
    const world = new MemoryWorld();
    const session = new MemorySession(world);
    await session.ask('AUTH PLAIN');
    session.received = '';
    session.send('A'.repeat(MAX_RESPONSE + MAX_DISCARDED + 1));
    expect(await session.rest()).toBe('-ERR response too long\r\n');
    await session.done;
    expect(world.logged.at(-1)).toContain('reason=flooded');
  });

  test('come whole, octet by octet, or with what follows: the same replies', async () => {
    const script = `AUTH LOGIN\r\n${base64('mrose')}\r\n${base64('tanstaaf')}\r\nSTAT\r\nQUIT\r\n`;
    const replies = new Set<string>();
    for (const size of [1, 2, 7, 100, script.length]) {
      const session = new MemorySession(new MemoryWorld());
      for (let at = 0; at < script.length; at += size) {
        session.send(script.slice(at, at + size));
        await turns(1);
      }
      replies.add(await session.rest());
      await session.done;
    }
    expect(replies.size).toBe(1);
    expect([...replies][0]).toMatch(/\+OK maildrop has .*\r\n\+OK 2 320\r\n\+OK .*\r\n$/);
  });

  test.each([
    'AUTH PLAIN',
    'AUTH LOGIN',
    'AUTH CRAM-MD5',
    'AUTH SCRAM-SHA-256',
    `AUTH LOGIN ${base64('mrose')}`,
  ])('C49: %s, and the client is gone, or says no more', async command => {
    for (const leave of ['end', 'reset', 'destroy'] as const) {
      const world = new MemoryWorld();
      const session = new MemorySession(world);
      await session.ask(command);
      if (leave === 'end') session.send(base64('mrose'));
      session.client[leave]();
      await session.done;
      expect(world.logins).toEqual([]);
      expect(world.logged.filter(line => !line.startsWith('debug'))).toEqual([]);
    }
  });

  test('the time to log in counts in an exchange, too', async () => {
    timersByHand();
    const slow = new MemoryWorld({ loginTimeout: 60_000 });
    const session = new MemorySession(slow);
    await session.ask('AUTH PLAIN');
    await vi.advanceTimersByTimeAsync(60_000);
    await session.done;
    expect(slow.logged.at(-1)).toContain('no-login reason=login-timeout');
  });

  test('a shutdown ends an exchange', async () => {
    const stopped = new MemorySession(new MemoryWorld());
    await stopped.ask('AUTH PLAIN');
    stopped.shutDown();
    await stopped.done;
    expect(stopped.received).toBe('+ \r\n');
  });

  test('those that are broken off or garbage count as bad commands', async () => {
    const world = new MemoryWorld();
    const session = new MemorySession(world);
    for (let n = 0; n < 19; n++) {
      await session.ask('AUTH PLAIN');
      expect(await session.ask(n % 2 === 0 ? '*' : '====')).toMatch(
        /^-ERR (authentication cancelled|not base64)$/,
      );
    }
    await session.ask('AUTH PLAIN');
    expect(await session.ask('*')).toBe('-ERR too many bad commands');
    await session.done;
  });
});

describe('what is offered', () => {
  const only = (all: ProofMethod[], some: ProofMethod[]) => async () => ({
    all: new Set(all),
    some: new Set(some),
  });

  async function listed(world: MemoryWorld, session = new MemorySession(world)): Promise<string | undefined> {
    await session.ask('CAPA');
    await session.until(received => received.endsWith('\r\n.\r\n'));
    return /^SASL (.*)\r$/m.exec(session.received)?.[1];
  }

  test.each([
    ['auto', ['SCRAM-SHA-256'], ['SCRAM-SHA-256', 'CRAM-MD5'], 'SCRAM-SHA-256 PLAIN LOGIN'],
    ['auto', [], ['SCRAM-SHA-256'], 'PLAIN LOGIN'],
    [['LOGIN', 'CRAM-MD5', 'SCRAM-SHA-1'], [], ['CRAM-MD5'], 'LOGIN CRAM-MD5'],
    [['SCRAM-SHA-1'], [], [], undefined],
    [[], ['CRAM-MD5'], ['CRAM-MD5'], undefined],
  ] as const)('--sasl-mechanisms %j, all users can %j, some %j', async (saslMechanisms, all, some, line) => {
    const world = new MemoryWorld({ saslMechanisms });
    world.services.authenticator.provable = only([...all], [...some]);
    const session = new MemorySession(world);
    expect(await listed(world, session)).toBe(line);
    for (const name of ['SCRAM-SHA-256', 'SCRAM-SHA-1', 'CRAM-MD5', 'PLAIN', 'LOGIN'] satisfies Mechanism[]) {
      const reply = await session.ask(`AUTH ${name}`);
      expect(reply.startsWith('+ '), name).toBe(line?.split(' ').includes(name) ?? false);
      if (reply.startsWith('+ ')) await session.ask('*');
    }
    await end(session);
  });

  test('RFC 5034 §3: the same after the login, when the users can no more be asked', async () => {
    const world = new MemoryWorld();
    let asked = 0;
    world.services.authenticator.provable = async () => {
      if (world.maildrops.length > 0) throw new Error('root was given up');
      asked++;
      return { all: new Set(['CRAM-MD5']), some: new Set() };
    };
    const session = new MemorySession(world);
    expect(await session.ask(`AUTH PLAIN ${PLAIN}`)).toBe(IN);
    expect(await listed(world, session)).toBe('CRAM-MD5 PLAIN LOGIN');
    expect(asked).toBe(1);
    await end(session);
  });

  test('while the users file is away, passwords may still be sent', async () => {
    const world = new MemoryWorld();
    world.services.authenticator.provable = async () => {
      throw new Unavailable('SYS/TEMP', 'Cannot check passwords now');
    };
    world.services.authenticator.scramChallenge = world.services.authenticator.provable as never;
    expect(await listed(world)).toBe('PLAIN LOGIN');
  });

  test('a backend that is down in the middle is [SYS/TEMP], never "wrong"', async () => {
    const world = new MemoryWorld();
    world.services.authenticator.scramChallenge = async () => {
      throw new Unavailable('SYS/TEMP', 'Cannot check passwords now');
    };
    const session = new MemorySession(world);
    expect(await session.ask(`AUTH SCRAM-SHA-1 ${base64('n,,n=mrose,r=x')}`)).toBe(
      '-ERR [SYS/TEMP] Cannot check passwords now',
    );
    expect(await session.ask(`AUTH PLAIN ${PLAIN}`)).toBe(IN);
    await end(session);
  });
});

describe('--plaintext', () => {
  const REFUSAL = '-ERR [AUTH] passwords in clear text are not accepted without TLS';

  test.each([
    ['always', '192.0.2.1', true],
    ['always', '127.0.0.1', true],
    ['local', '192.0.2.1', false],
    ['local', '127.0.0.1', true],
    ['local', '::1', true],
    ['tls', '192.0.2.1', false],
    ['tls', '127.0.0.1', false],
  ] as const)('%s, from %s: %s', async (plaintext, address, allowed) => {
    const world = new MemoryWorld({ plaintext });
    const session = new MemorySession(world, { address });
    await session.ask('CAPA');
    await session.until(received => received.endsWith('\r\n.\r\n'));
    const lines = session.received.split('\r\n');
    expect(lines.includes('USER')).toBe(allowed);
    expect(lines).toContain(`SASL SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5${allowed ? ' PLAIN LOGIN' : ''}`);
    if (allowed) {
      expect(await session.ask('USER mrose')).toBe('+OK send PASS');
    } else {
      // Before a password was sent, wherever there is a moment for it.
      const commands = ['USER mrose', 'PASS tanstaaf', 'AUTH PLAIN', 'AUTH LOGIN', `AUTH PLAIN ${PLAIN}`];
      for (const command of commands) expect(await session.ask(command)).toBe(REFUSAL);
      expect(world.logins).toEqual([]);
      expect(world.logged).toEqual(
        commands.map(
          () => `info ${address} bad-command reason="passwords in clear text are not accepted without TLS"`,
        ),
      );
      expect(await byCram(session, 'mrose', 'tanstaaf')).toBe(IN);
    }
    await end(session);
  });
});

test('C50: the garbage of one client is nothing to those who log in at the same time', async () => {
  const world = new MemoryWorld({ maxBadCommands: 1000 });
  const sessions = Array.from({ length: 100 }, () => new MemorySession(world));
  // All are in the middle of an exchange when the garbage comes.
  const exchanges = await Promise.all(
    sessions.map(async (session, n) => {
      const client = new ScramClient(n % 2 ? 'sha1' : 'sha256', 'mrose', 'tanstaaf');
      const first = challenge(await session.ask(`AUTH ${client.method} ${base64(client.first)}`));
      return { session, client, first };
    }),
  );
  const bad = new MemorySession(world);
  for (const garbage of ['====', '\0\0\0\0', '*', 'A', base64('c=biws,r=x,p=AAAA'), 'A'.repeat(20_000)]) {
    await bad.ask('AUTH SCRAM-SHA-256 biwsbj1tcm9zZSxyPXg=');
    expect(await bad.ask(garbage)).toMatch(/^-ERR/);
  }
  bad.client.reset();
  const outcomes = await Promise.all(
    exchanges.map(async ({ session, client, first }) => {
      const signature = challenge(await session.ask(base64(client.final(first))));
      const reply = await session.ask('');
      await end(session);
      return signature === `v=${client.expected}` && reply;
    }),
  );
  expect(outcomes).toEqual(Array.from({ length: 100 }, () => IN));
  await bad.done;
});

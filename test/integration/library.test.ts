/** The library as another program's tests use it: a server in one call, and nothing left of it afterwards. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createServer, type Pop3Server, type ServerOptions } from '../../lib/index.js';
import { message, messages, scratchDir } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { passwordOf, usersNamed } from '../support/real-server.js';

/** Where the library puts what it makes; all of it must be gone after each test. */
let temporary: string;
/** A spool of the caller's. */
let spool: string;
const started: Pop3Server[] = [];

beforeEach(() => {
  const root = scratchDir();
  [temporary, spool] = [join(root, 'tmp'), join(root, 'spool')];
  for (const dir of [temporary, spool]) mkdirSync(dir);
  vi.stubEnv('TMPDIR', temporary);
});

afterEach(async () => {
  await Promise.all(started.splice(0).map(server => server.close()));
  vi.unstubAllEnvs();
  expect(readdirSync(temporary)).toEqual([]);
});

async function start(options: Partial<ServerOptions> = {}): Promise<Pop3Server> {
  const server = await createServer({ users: usersNamed('alice', 'bob'), ...options });
  started.push(server);
  return server;
}

/** Events of a server, as they come. */
function eventsOf(server: Pop3Server): unknown[] {
  const events: unknown[] = [];
  for (const name of ['login', 'login-failed', 'logout'] as const) {
    server.on(name, event => events.push([name, event]));
  }
  return events;
}

test('a server in one call: port chosen, spool of its own, empty maildrops', async () => {
  const server = await start();
  expect(server.host).toBe('127.0.0.1');
  expect(server.port).toBeGreaterThan(0);
  expect(readdirSync(server.spool)).toEqual([]);
  const client = await Pop3Client.loggedIn(server.port, 'alice', passwordOf('alice'));
  expect(await client.ok('STAT')).toBe('+OK 0 0');
  await client.ok('QUIT');
  expect(readdirSync(server.spool)).toEqual([]);
});

test('mail put into the spool is served, and deleted', async () => {
  const server = await start();
  const path = join(server.spool, 'bob');
  writeFileSync(path, messages(3).join(''));
  const client = await Pop3Client.loggedIn(server.port, 'bob', passwordOf('bob'));
  await client.ok('DELE 2');
  await client.ok('QUIT');
  expect(readFileSync(path, 'latin1')).toBe(messages(3)[0]! + messages(3)[2]!);
});

test('events: one each for a login, a refused login and a logout', async () => {
  const server = await start();
  writeFileSync(join(server.spool, 'alice'), messages(2).join(''));
  const events = eventsOf(server);
  const client = await Pop3Client.greeted(server.port);
  await client.ok('USER alice');
  expect(await client.ask('PASS wrong')).toBe('-ERR [AUTH] Authentication failed');
  await client.logIn('alice', passwordOf('alice'));
  const { content } = await client.multiline('RETR 1');
  await client.ok('DELE 1');
  await client.ok('QUIT');
  await client.rest();
  expect(events).toEqual([
    ['login-failed', expect.objectContaining({ address: '127.0.0.1', user: 'alice', method: 'USER' })],
    ['login', expect.objectContaining({ address: '127.0.0.1', user: 'alice', messages: 2 })],
    ['logout', expect.objectContaining({ reason: 'quit', retr: `1/${content.length}`, deleted: 1, left: 1 })],
  ]);
});

test('close ends sessions without UPDATE, gives everything back, and can be called twice', async () => {
  const mailbox = messages(3).join('');
  writeFileSync(join(spool, 'alice'), mailbox);
  const server = await createServer({ users: usersNamed('alice'), spool });
  const client = await Pop3Client.loggedIn(server.port, 'alice', passwordOf('alice'));
  await client.ok('DELE 1');
  await Promise.all([server.close(), server.close()]);
  expect(await client.rest()).toBe('');
  expect(readdirSync(spool)).toEqual(['alice']);
  expect(readFileSync(join(spool, 'alice'), 'latin1')).toBe(mailbox);
  expect(readdirSync(temporary)).toEqual([]);
  await server.close();
});

test('await using closes', async () => {
  let port = 0;
  {
    await using server = await createServer({ users: {} });
    port = server.port;
    await Pop3Client.greeted(port);
  }
  const refused = await new Promise(resolve => {
    connect(port, '127.0.0.1').on('error', error => resolve('code' in error && error.code));
  });
  expect(refused).toBe('ECONNREFUSED');
});

test('two servers at once know nothing of each other', async () => {
  const [one, two] = [await start(), await start()];
  writeFileSync(join(one.spool, 'alice'), message(1));
  const first = await Pop3Client.loggedIn(one.port, 'alice', passwordOf('alice'));
  const second = await Pop3Client.loggedIn(two.port, 'alice', passwordOf('alice'));
  expect(await first.ok('STAT')).toMatch(/^\+OK 1 /);
  expect(await second.ok('STAT')).toBe('+OK 0 0');
  await one.close();
  await second.ok('NOOP');
});

test.each([0, 15_000])(
  'one mailbox, two servers: the second login is IN-USE (lockYield %i)',
  async yields => {
    writeFileSync(join(spool, 'alice'), message(1));
    const [one, two] = [await start({ spool, lockYield: yields }), await start({ spool, lockYield: yields })];
    const first = await Pop3Client.loggedIn(one.port, 'alice', passwordOf('alice'));
    const second = await Pop3Client.greeted(two.port);
    await second.ok('USER alice');
    expect(await second.ask(`PASS ${passwordOf('alice')}`)).toMatch(
      /^-ERR \[IN-USE\] maildrop is in use by another POP3 session since .* from 127\.0\.0\.1$/,
    );
    await first.ok('QUIT');
    await second.logIn('alice', passwordOf('alice'));
  },
);

test('a state directory of the caller is used, kept, and read again', async () => {
  const stateDir = join(spool, '..', 'state');
  const same = message('same');
  writeFileSync(join(spool, 'alice'), same + same + same);
  const session = async (...remove: number[]) => {
    const server = await start({ spool, stateDir });
    const client = await Pop3Client.loggedIn(server.port, 'alice', passwordOf('alice'));
    const ids = (await client.listing('UIDL')).map(line => line.split(' ')[1]);
    for (const n of remove) await client.ok(`DELE ${n}`);
    await client.ok('QUIT');
    await server.close();
    return ids;
  };
  const ids = await session(1);
  expect(await session()).toEqual(ids.slice(1));
  expect(readdirSync(stateDir)).toEqual(['alice']);
});

test('options: read-only, APOP, LAST', async () => {
  const server = await start({ readOnly: true, apop: true, last: true });
  writeFileSync(join(server.spool, 'alice'), message(1));
  const client = await Pop3Client.connect(server.port);
  expect(await client.line()).toMatch(/^\+OK .* <\S+@\S+>$/);
  await client.logIn('alice', passwordOf('alice'));
  expect(await client.ok('LAST')).toBe('+OK 0');
  expect(await client.ask('DELE 1')).toMatch(/^-ERR \[SYS\/PERM\] /);
});

test('a port in use is an error, and leaves nothing', async () => {
  const server = await start();
  await expect(createServer({ users: {}, port: server.port })).rejects.toThrow(
    `cannot listen on 127.0.0.1:${server.port}: the address is in use`,
  );
});

test('a name no user can have is an error, and leaves nothing', async () => {
  await expect(createServer({ users: { '../alice': 'x' } })).rejects.toThrow('not a user name');
});

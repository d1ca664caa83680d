/**
 * Several workers are one server: what is counted is counted once, what is locked is locked for all, and one
 * that dies takes nothing with it but its own connections. Real processes; which of them gets a connection is
 * decided by stopping the others.
 */
import { copyFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { message, messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { passwordOf } from '../support/real-server.js';
import { servePlaces, serving } from '../support/serving.js';
import { filesOf, shownBy, tlsConnect } from '../support/tls/certificates.js';
import { one, pair, type Worker, withStopped, workersOf } from '../support/workers.js';

const PATIENCE = { timeout: 30_000, interval: 20 };
const GREETING = /^\+OK /;
const FULL = /^-ERR \[SYS\/TEMP\] too many connections, try again later$/;
const FULL_FROM_THERE = /^-ERR \[SYS\/TEMP\] too many connections from your address, try again later$/;
const IN_USE = /^-ERR \[IN-USE\] /;

test('connections in all and from one address: one less, at the limit, one more, across two workers', async () => {
  const flags = ['--max-connections', '4', '--max-connections-per-address', '2'];
  const { workers } = await pair(servePlaces({ alice: '' }), flags);
  const [a, b] = workers;
  const there = '127.0.0.2';
  expect((await a.connect(there)).first).toMatch(GREETING);
  const second = await b.connect(there);
  expect(second.first).toMatch(GREETING);
  expect((await a.connect(there)).first).toMatch(FULL_FROM_THERE);
  expect((await b.connect(there)).first).toMatch(FULL_FROM_THERE);
  expect((await a.connect('127.0.0.3')).first).toMatch(GREETING);
  expect((await b.connect('127.0.0.4')).first).toMatch(GREETING);
  expect((await a.connect('127.0.0.5')).first).toMatch(FULL);
  expect((await b.connect('127.0.0.5')).first).toMatch(FULL);
  // A place that is free in one is free for the other.
  second.client.reset();
  await expect.poll(async () => (await a.connect(there)).first, PATIENCE).toMatch(GREETING);
});

test('guesses, connections of a user, sessions of a mailbox: one count, one lock', async () => {
  const flags = ['--failure-delay', '0', '--max-failure-delay', '1', '--max-connections-per-user', '2'];
  const { server, port, workers } = await pair(servePlaces({ alice: '', bob: '' }), flags);
  const [a, b] = workers;
  const guess = async (worker: Worker, times: number) => {
    const client = await worker.greeted();
    for (let i = 0; i < times; i++) {
      await client.ok('USER bob');
      expect(await client.ask('PASS wrong')).toMatch(/^-ERR \[AUTH\] /);
    }
  };
  await guess(a, 2);
  await guess(b, 1);
  expect(server.stderr()).not.toMatch(/ waited=/);
  await guess(a, 1);
  await server.logged(/ login-failed user=bob .* waited=1\n/);

  const holder = await a.loggedIn('alice');
  // The second session asks the first to give way, which is stopped and does not answer; the third is one too many.
  const waiting = await b.alone(async () => {
    const clients = [await Pop3Client.greeted(port), await Pop3Client.greeted(port)];
    for (const client of clients) await client.ok('USER alice');
    for (const client of clients) client.send(`PASS ${passwordOf('alice')}\r\n`);
    // Which of them came first is theirs to say.
    const replies = clients.map(client => client.line());
    expect(await Promise.race(replies)).toBe(
      '-ERR [SYS/TEMP] too many connections of this user, try again later',
    );
    return replies;
  });
  expect((await Promise.all(waiting)).filter(reply => IN_USE.test(reply))).toHaveLength(1);
  await holder.ok('NOOP');
  // Its place is free again.
  await holder.ok('QUIT');
  await b.loggedIn('alice');
});

test('a worker that is killed: the other goes on, its places are free, its locks are gone, it is replaced', async () => {
  const [first, ...rest] = [
    message('first'),
    message('large', 'a line\n'.repeat(1_000_000)),
    message('last'),
  ];
  const places = servePlaces({ alice: first + rest.join(''), bob: messages(2).join('') });
  const { server, port, workers } = await pair(places, ['--max-connections', '2']);
  const [a, b] = workers;
  const survivor = await b.loggedIn('bob');
  await survivor.ok('DELE 1');
  const victim = await a.loggedIn('alice');
  await victim.ok('DELE 1');
  expect((await b.connect()).first).toMatch(FULL);
  const before = statSync(places.mailbox('alice'), { bigint: true }).mtimeNs;
  victim.send('QUIT\r\n');
  // In the middle of the UPDATE: its journal is complete, and the mailbox is being changed.
  while (statSync(places.mailbox('alice'), { bigint: true }).mtimeNs === before) {
    await new Promise(resolve => setImmediate(resolve));
  }
  process.kill(a.pid, 'SIGKILL');
  // On a busy host the UPDATE may have been over by then: its client was told so, and was perhaps counted out.
  const connections = (await victim.rest()) === '' ? '1' : '[01]';
  await server.logged(
    new RegExp(` worker-lost worker=\\d+ reason=SIGKILL connections=${connections} again=0\\.1\n`),
  );

  const next = await Pop3Client.loggedIn(port, 'alice', passwordOf('alice'));
  expect(await next.ok('STAT')).toMatch(/^\+OK 2 /);
  expect(places.content('alice')).toBe(rest.join(''));
  await survivor.ok('QUIT');
  await survivor.rest();
  expect(places.content('bob')).toBe(messages(2)[1]);
  await server.logged(/ worker-replaced\n/);
  const [old, replacement] = await workersOf(server, 2);
  expect(old).toBe(b.pid);
  expect(replacement).not.toBe(a.pid);
  await next.ok('QUIT');
  await next.rest();
  const served = await one(port, replacement!, b.pid).loggedIn('bob');
  await served.ok('QUIT');
});

test('takeover from one worker to the other', async () => {
  const places = servePlaces({ alice: messages(2).join('') });
  const { workers } = await pair(places, ['--takeover', '0.2']);
  const [a, b] = workers;
  const silent = await a.loggedIn('alice');
  await silent.ok('DELE 1');
  const asking = await b.greeted();
  await expect
    .poll(async () => {
      await asking.ok('USER alice');
      return asking.ask(`PASS ${passwordOf('alice')}`);
    }, PATIENCE)
    .toMatch(/^\+OK /);
  expect(await silent.rest()).toBe('');
  await asking.ok('QUIT');
  expect(places.content('alice')).toBe(messages(2).join(''));
});

test('SIGTERM: idle sessions of all workers end, a reply and an UPDATE finish; then nobody is left', async () => {
  const large = message('large', 'a line of the large message\n'.repeat(600_000));
  const places = servePlaces({ alice: large, bob: messages(2).join('') });
  const { server, port, workers } = await pair(places);
  const [a, b] = workers;
  const idle = await b.loggedIn('bob');
  await idle.ok('DELE 1');
  const reading = await a.loggedIn('alice');
  reading.send('RETR 1\r\n');
  const octets = Number(/^\+OK (\d+) octets$/.exec(await reading.line())![1]);
  reading.socket.pause();
  server.child.kill('SIGTERM');
  expect(await idle.rest()).toBe('');
  // Each worker hears of it in its own time.
  const outcome = () =>
    Pop3Client.connect(port).then(
      () => 'connected',
      ({ code }) => code,
    );
  await expect.poll(outcome, PATIENCE).toBe('ECONNREFUSED');
  // What a terminal sends to all processes ends none of them.
  for (const { pid } of [a]) process.kill(pid, 'SIGINT');
  reading.socket.resume();
  expect((await reading.rest()).length).toBe(octets + '.\r\n'.length);
  expect(await server.exited).toBe(0);
  expect(places.content('bob')).toBe(messages(2).join(''));
  expect(readdirSync(places.spool).sort()).toEqual(['alice', 'bob']);
  expect(server.stderr()).not.toMatch(/ (?:worker-lost|supervisor-lost|error) /);
});

test.each(['1', '2'])(
  'nothing is left in the directory of session locks to be asked: %s workers',
  async count => {
    const places = servePlaces({ alice: '' });
    const { server, port } = await serving(places, ['--workers', count]);
    // So many in so short a time that its sockets are kept for those that come next.
    for (let i = 0; i < 6; i++) {
      const client = await Pop3Client.loggedIn(port, 'alice', passwordOf('alice'));
      await client.ok('QUIT');
      await client.rest();
    }
    server.child.kill('SIGTERM');
    expect(await server.exited).toBe(0);
    expect(readdirSync(join(places.state, 'run')).filter(name => name.endsWith('.socket'))).toEqual([]);
    expect(server.stderr()).not.toMatch(/ (?:worker-lost|error) /);
  },
);

test('without a supervisor nobody is served: the workers end', async () => {
  const places = servePlaces({ alice: messages(2).join('') });
  const { server, port, workers } = await pair(places);
  const client = await workers[0].loggedIn('alice');
  server.child.kill('SIGKILL');
  expect(await client.rest()).toBe('');
  await server.exited; // When no worker holds its output any more.
  await expect(Pop3Client.connect(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  expect(server.stderr()).toMatch(/ supervisor-lost .*\n.* supervisor-lost /s);
});

test('SIGHUP: new certificates for all workers', async () => {
  const places = servePlaces({ alice: '' });
  const [cert, key] = [join(places.root, 'tls.crt'), join(places.root, 'tls.key')];
  const install = (name: 'rsa' | 'other') => {
    copyFileSync(filesOf(name).cert, cert);
    copyFileSync(filesOf(name).key, key);
  };
  install('rsa');
  const tls = ['--tls-listen', '127.0.0.1:0', '--tls-cert', cert, '--tls-key', key];
  const { server, workers } = await pair(places, tls);
  const [port] = (await server.tlsPorts()) as [number];
  const current = async () => shownBy(await tlsConnect({ port }));
  const shown = (worker: Worker) => worker.alone(current);
  for (const worker of workers) expect(await shown(worker)).toBe('rsa');
  install('other');
  server.child.kill('SIGHUP');
  for (const worker of workers) await expect.poll(() => shown(worker), PATIENCE).toBe('other');

  // One that is just being started has been given the old ones, and hears of the new ones before it uses them.
  const [a, b] = workers;
  process.kill(a.pid, 'SIGKILL');
  await server.logged(/ worker-lost /);
  const replacement = (await workersOf(server, 2)).find(pid => pid !== b.pid)!;
  await withStopped([replacement], async () => {
    install('rsa');
    server.child.kill('SIGHUP');
    await expect.poll(current, PATIENCE).toBe('rsa');
  });
  await server.logged(/ worker-replaced\n/);
  expect(await shown(one(port, replacement, b.pid))).toBe('rsa');
});

/**
 * C56: what the log says of a session over TCP: one line each for a refused login, a login and the end
 * of the session, the client's address first, whatever a client calls itself.
 */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MAX_VALUE } from '../../lib/log.js';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { makePlaces, passwordOf, startReal, usersNamed } from '../support/real-server.js';
import { servePlaces, serving } from '../support/serving.js';

test('a session is three lines, with what it did', async () => {
  const server = await startReal(makePlaces({ alice: messages(3).join('') }), usersNamed('alice'));
  const client = await Pop3Client.greeted(server.port);
  await client.ok('USER alice');
  await client.ask('PASS wrong');
  await client.logIn('alice', passwordOf('alice'));
  const retr = (await client.multiline('RETR 1')).content.length;
  const top = (await client.multiline('TOP 2 0')).content.length;
  await client.ok('DELE 3');
  await client.ok('QUIT');
  await client.rest();
  const total = /\((\d+) octets\)|octets=(\d+)/.exec(server.logged[1]!)?.[2];
  expect(server.logged).toEqual([
    'info 127.0.0.1 login-failed user=alice reason="wrong password" method=USER',
    `info 127.0.0.1 login user=alice method=USER messages=3 octets=${total}`,
    expect.stringMatching(
      `^info 127\\.0\\.0\\.1 logout user=alice reason=quit retr=1/${retr} top=1/${top} deleted=1 left=2 seconds=\\d+$`,
    ),
  ]);
});

test('a connection that never logs in is not worth a line', async () => {
  const server = await startReal(makePlaces(), usersNamed('alice'));
  const client = await Pop3Client.greeted(server.port);
  await client.ok('QUIT');
  await client.rest();
  (await Pop3Client.greeted(server.port)).socket.destroy();
  await server.close();
  expect(server.logged.filter(line => !line.startsWith('debug '))).toEqual([]);
});

const NAMES: [string, string][] = [
  ['another address', 'alice from=10.0.0.1'],
  ['a quote and another field', 'alice" reason="none" 10.0.0.1 login user="root'],
  ['a backslash', 'alice\\'],
  ['CR', 'alice\rinfo 10.0.0.1 login user=root'],
  ['ESC and a C1 control', 'alice\x1b[2J\x9b2J'],
  ['NUL', 'alice\0root'],
  ['300 octets', 'a'.repeat(300)],
  ['300 octets of what must be escaped', '\x01'.repeat(300)],
  ['U+202E and U+2028', Buffer.from('alice\u202egnp.exe\u2028x').toString('latin1')],
  ['broken UTF-8', 'alice\xff\xc3'],
  ['a surrogate pair cut by the limit', Buffer.from(`${'a'.repeat(127)}\u{1f600}`).toString('latin1')],
  ['format characters', '%s%n%d%o%j%c'],
  ['a property of all objects', '__proto__'],
  ['a path', '../../etc/passwd'],
];

test.each(NAMES)('a user name with %s is one line of printable ASCII', async (_, name) => {
  const server = await startReal(makePlaces(), usersNamed('alice'));
  const client = await Pop3Client.greeted(server.port);
  const reply = await client.ask(`USER ${name}`);
  if (reply.startsWith('+OK')) {
    expect(await client.ask('PASS x')).toBe('-ERR [AUTH] Authentication failed');
  }
  await client.ok('QUIT');
  await client.rest();
  const failures = server.logged.filter(line => line.includes('login-failed'));
  expect(failures.length).toBe(reply.startsWith('+OK') ? 1 : 0);
  for (const line of server.logged) {
    expect(line).toMatch(/^(info|debug) 127\.0\.0\.1 [a-z-]+ [\x20-\x7e]+$/);
    // Every character of a value escaped, and the few fields around it.
    expect(line.length).toBeLessThan(6 * MAX_VALUE + 200);
    // Fields outside quotes are ours alone.
    const bare = line.replace(/"(?:[^"\\]|\\.)*"/g, '""');
    expect(bare.match(/ user=/g)?.length ?? 0).toBeLessThanOrEqual(1);
    expect(bare).not.toContain('10.0.0.1');
  }
});

test('a name with LF is two lines of the client, and no name', async () => {
  const server = await startReal(makePlaces(), usersNamed('alice'));
  const client = await Pop3Client.greeted(server.port);
  await client.ok('USER alice\nPASS x 10.0.0.1 login user=root').catch(() => undefined);
  client.send('QUIT\r\n');
  await client.rest();
  expect(server.logged.filter(line => line.includes('login'))).toEqual([
    'info 127.0.0.1 login-failed user=alice reason="wrong password" method=USER',
    expect.stringMatching(/^debug 127\.0\.0\.1 no-login /),
  ]);
});

test.each(['1', '2'])('whoever reads the log is gone: sessions go on (--workers %s)', async workers => {
  const places = servePlaces({ alice: messages(2).join('') });
  const { server, port } = await serving(places, ['--workers', workers]);
  server.child.stderr!.destroy();
  server.child.stdout!.destroy();
  for (const left of ['1 message left', 'maildrop empty']) {
    const client = await Pop3Client.loggedIn(port, 'alice', passwordOf('alice'));
    await client.ok('DELE 1');
    expect(await client.ok('QUIT')).toContain(`(${left})`);
    await client.rest();
  }
  expect(await server.stop()).toBe(0);
  expect(places.content('alice')).toBe('');
});

test('a log that is a file has each line when it is said, behind what was there', async () => {
  const places = servePlaces({ alice: messages(1).join('') });
  const file = join(places.root, 'log');
  writeFileSync(file, 'before\n');
  chmodSync(file, 0o666); // For the ordinary user that serves.
  const wrapper = ['sh', '-c', 'exec "$@" 2>> "$LOG"', 'sh'];
  const { server, port } = await serving(places, [], { wrapper, env: { LOG: file } });
  const client = await Pop3Client.loggedIn(port, 'alice', passwordOf('alice'));
  const lines = () => readFileSync(file, 'utf8').trimEnd().split('\n');
  expect(lines().at(0)).toBe('before');
  expect(lines().at(-1)).toMatch(/^2\S+Z info 127\.0\.0\.1 login user=alice /);
  await client.ok('QUIT');
  await client.rest();
  expect(lines().at(-1)).toMatch(/ logout user=alice reason=quit /);
  expect(await server.stop()).toBe(0);
});

test('a log on a full disk: the server starts, and serves', async () => {
  const places = servePlaces({ alice: messages(1).join('') });
  const wrapper = ['sh', '-c', 'exec "$@" 2> /dev/full', 'sh'];
  const { server, port } = await serving(places, [], { wrapper });
  const client = await Pop3Client.loggedIn(port, 'alice', passwordOf('alice'));
  await client.ok('QUIT');
  await client.rest();
  expect(await server.stop()).toBe(0);
});

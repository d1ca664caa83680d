/**
 * SIGTERM: idle sessions end at once without UPDATE, a reply in progress is sent to its end, an UPDATE
 * always finishes, whoever comes new is turned away; then the server is gone, with exit code 0.
 */
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { message, messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { passwordOf } from '../support/real-server.js';
import { servePlaces, serving } from '../support/serving.js';

const USER = 'alice';
/** More than any socket buffer between us holds. */
const LARGE = message('large', 'a line of the large message\n'.repeat(600_000));
/** Of it on the wire: all but the From_ line and the empty line at its end, with CRLF. */
const OCTETS = LARGE.replace(/^.*\n/, '').slice(0, -1).replaceAll('\n', '\r\n').length;

test.each(['SIGTERM', 'SIGINT'] as const)('%s: an idle session ends without UPDATE', async signal => {
  const mailbox = messages(3).join('');
  const places = servePlaces({ [USER]: mailbox });
  const { server, port } = await serving(places);
  const client = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
  await client.ok('DELE 1');
  const greeted = await Pop3Client.greeted(port);
  expect(await server.stop(signal)).toBe(0);
  expect([await client.rest(), await greeted.rest()]).toEqual(['', '']);
  expect(places.content(USER)).toBe(mailbox);
  expect(readdirSync(places.spool)).toEqual([USER]);
  expect(server.stderr()).toMatch(/ logout user=alice reason=shutdown .* deleted=0 left=3 /);
});

/** Asks for the large message and stops reading in the middle of it. */
async function inTheMiddle(port: number): Promise<Pop3Client> {
  const client = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
  client.send('RETR 1\r\nDELE 1\r\nQUIT\r\n');
  expect(await client.line()).toBe(`+OK ${OCTETS} octets`);
  client.socket.pause();
  return client;
}

test('a RETR in progress is sent to its end, and nothing after it', async () => {
  const places = servePlaces({ [USER]: LARGE });
  const { server, port } = await serving(places);
  const client = await inTheMiddle(port);
  server.child.kill('SIGTERM');
  await server.logged(/ stopping /);
  await expect(Pop3Client.connect(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  client.socket.resume();
  const rest = await client.rest();
  expect(rest.length).toBe(OCTETS + '.\r\n'.length);
  expect(rest.endsWith('message\r\n.\r\n')).toBe(true);
  expect(await server.exited).toBe(0);
  expect(places.content(USER) === LARGE).toBe(true);
  expect(server.stderr()).toMatch(` logout user=alice reason=shutdown retr=1/${OCTETS} `);
});

test('a second signal cuts a client that does not read', async () => {
  const places = servePlaces({ [USER]: LARGE });
  const { server, port } = await serving(places);
  const client = await inTheMiddle(port);
  server.child.kill('SIGTERM');
  await server.logged(/ stopping /);
  expect(await server.stop()).toBe(0);
  expect(client.ended).toBe(false);
  expect(places.content(USER) === LARGE).toBe(true);
  expect(readdirSync(places.spool)).toEqual([USER]);
});

const FAREWELL = /^\+OK .*signing off \(2 messages left\)\r\n$/;

test.each([
  ['one signal: and is answered', 1, FAREWELL],
  // The connection is cut by the second; what was asked for is done all the same.
  ['two signals', 2, new RegExp(`^$|${FAREWELL.source}`)],
])('an UPDATE finishes, even one that has to wait for its locks: %s', async (_, signals, reply) => {
  const places = servePlaces({ [USER]: messages(3).join('') });
  const { server, port } = await serving(places, ['--lock-yield', '0']);
  const client = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
  await client.ok('DELE 2');
  // The lock of a program that is alive: this one.
  const lock = `${places.mailbox(USER)}.lock`;
  while (existsSync(lock)) await new Promise(resolve => setImmediate(resolve));
  writeFileSync(lock, `${process.pid}\n`, { flag: 'wx' });
  client.send('QUIT\r\n');
  // Seen by the server before the signal: a second client is answered after it.
  const other = await Pop3Client.greeted(port);
  await other.ok('CAPA');
  server.child.kill('SIGTERM');
  await server.logged(/ stopping /);
  // After the first was taken: two of a kind that are pending at once are one.
  if (signals === 2) server.child.kill('SIGTERM');
  rmSync(lock);
  expect(await client.rest()).toMatch(reply);
  expect(await server.exited).toBe(0);
  expect(places.content(USER)).toBe(messages(3)[0]! + messages(3)[2]!);
});

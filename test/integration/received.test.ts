/**
 * What a client sends ahead is not taken from the kernel before a session wants it: at most 16 KiB a
 * connection, before login as after it; under TLS before login, where a record is read whole before a word of it
 * is known (RFC 8446 §5.1), and so one that is larger than that ends the connection.
 *
 * Counted is what has left the kernel and is not part of a command that was answered: in the streams of Node.js,
 * in OpenSSL, in our own buffers.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { MAX_RESPONSE } from '../../lib/pop3/sasl.js';
import { Pop3Client } from '../support/pop3-client.js';
import { makePlaces, passwordOf, startReal, usersNamed } from '../support/real-server.js';
import { tlsConnect } from '../support/tls/certificates.js';
import { Tap } from '../support/tls/tap.js';

const BOUND = 16 * 1024;
const FLOOD = Buffer.from('CAPA\r\n'.repeat(100_000));

/** The next connection that a server of this process accepts, as it sees it. */
function nextAccepted(): Promise<Socket> {
  return new Promise(resolve => {
    const seen = (message: unknown) => {
      const { socket } = message as { socket: Socket };
      unsubscribe('net.server.socket', seen);
      resolve(socket);
    };
    subscribe('net.server.socket', seen);
    onTestFinished(() => {
      unsubscribe('net.server.socket', seen);
    });
  });
}

/**
 * Octets taken from the kernel once no more are taken, though there are more.
 * @param least so many are taken in any case, however long a busy host takes for that
 */
async function taken(socket: Socket, least: number): Promise<number> {
  for (let before = -1; ; ) {
    const now = socket.bytesRead;
    if (now === before && now >= least) return now;
    before = now;
    await new Promise(resolve => setTimeout(resolve, 300));
  }
}

test.each([
  ['before login, while a refusal is waited for', 'USER alice\r\nPASS wrong\r\n'],
  ['before login, by one line', 'x'.repeat(100)],
])('%s', async (_, first) => {
  const server = await startReal(makePlaces(), usersNamed('alice'), { failureDelay: 20_000 });
  const accepted = nextAccepted();
  const client = await Pop3Client.connect(server.port, { reading: false });
  const socket = await accepted;
  client.send(first);
  if (!first.includes('PASS')) client.send('\r\nUSER alice\r\nPASS wrong\r\n');
  client.send(FLOOD);
  await taken(socket, first.length + 1);
  expect(socket.bytesRead).toBeLessThanOrEqual(first.length + 30 + BOUND);
});

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
const GUESS = 'USER alice\r\nPASS wrong\r\n';

interface Tapped {
  readonly client: Pop3Client;
  /** Its records. */
  readonly tap: Tap;
  /** The connection as the server sees it. */
  readonly accepted: Socket;
}

/** Greeted under TLS. */
async function overTls(port: number, maxVersion: (typeof VERSIONS)[number]): Promise<Tapped> {
  const accepting = nextAccepted();
  const tap = await Tap.to(port);
  const accepted = await accepting;
  const client = Pop3Client.over(await tlsConnect({ socket: tap as unknown as Socket }, { maxVersion }));
  expect(await client.line()).toMatch(/^\+OK /);
  return { client, tap, accepted };
}

/** Runs with a client of each version of TLS for each of these, all at the same time. */
async function eachOverTls<T>(
  port: number,
  items: readonly T[],
  run: (tapped: Tapped, item: T) => Promise<void>,
) {
  const all: (() => Promise<void>)[] = [];
  for (const version of VERSIONS) {
    for (const item of items) {
      const tapped = await overTls(port, version);
      all.push(() => run(tapped, item));
    }
  }
  await Promise.all(all.map(begin => begin()));
}

const certificate = 'ec';

test('before login, under TLS, while a refusal is waited for, whatever the size of records', async () => {
  const options = { failureDelay: 20_000, certificate } as const;
  const server = await startReal(makePlaces(), usersNamed('alice'), options);
  const sizes = [512, 1400, 4000, 8192, 16_384];
  let cut = 0;
  await eachOverTls(server.tlsPort, sizes, async ({ client, accepted }, size) => {
    const before = accepted.bytesRead;
    (client.socket as TLSSocket).setMaxSendFragment(size);
    // Some of it in the record with what is waited for.
    client.send(GUESS + 'CAPA\r\n'.repeat(50));
    client.send(FLOOD);
    await taken(accepted, before + 351);
    // A large record ends the connection, and then nothing is held.
    if (client.ended && size > BOUND / 4) cut++;
    else expect(accepted.bytesRead - before).toBeLessThanOrEqual(BOUND);
  });
  expect(server.tcp.connections).toBe(2 * sizes.length - cut);
  expect(cut).toBeGreaterThan(0);
});

/** Of the records before, what has encrypted them may be counted, since nobody tells: never less than is held. */
const COUNTED = 100;

test('before login, under TLS, by a record that does not end: as much as there is room for, and no more', async () => {
  const server = await startReal(makePlaces(), usersNamed('alice'), { failureDelay: 0, certificate });
  const cases = [1, 14_000].flatMap(start => [-COUNTED, 1].map(more => ({ start, more })));
  await eachOverTls(server.tlsPort, cases, async ({ client, tap, accepted }, { start, more }) => {
    expect(await client.ask('AUTH PLAIN')).toBe('+ ');
    // The start of a line, which is held, too.
    const first = await tap.hold(() => client.send('A'.repeat(start)));
    const least = accepted.bytesRead + first.length;
    tap.send(first);
    const before = await taken(accepted, least);
    const length = BOUND + more - start;
    const record = await tap.hold(() => client.send('A'.repeat(length - (first.length - start) + 1)));
    expect(record.length).toBe(length + 1);
    tap.send(record.subarray(0, -1));
    if (more > 0) {
      expect(await client.rest()).toBe('');
    } else {
      expect(await taken(accepted, before + length)).toBe(before + length);
      tap.send(record.subarray(-1));
      expect(await client.line()).toBe('-ERR response too long');
    }
  });
  // The same of the same address is not said again at once.
  expect(server.logged.filter(line => line.includes(' no-login reason=flooded'))).toHaveLength(1);
});

test('under TLS, the longest response in one record is taken; after login, the largest record is', async () => {
  const users = usersNamed('alice');
  const server = await startReal(makePlaces({ alice: '' }), users, { failureDelay: 0, certificate });
  for (const version of VERSIONS) {
    const { client } = await overTls(server.tlsPort, version);
    for (const length of [MAX_RESPONSE - 1, MAX_RESPONSE, MAX_RESPONSE + 1])
      await longResponse(client, length);
    await client.logIn('alice', passwordOf('alice'));
    client.send('NOOP\r\n'.repeat(5000));
    for (let i = 0; i < 5000; i++) expect(await client.line()).toBe('+OK nothing done');
    await client.ok('QUIT');
    await client.rest();
  }
});

/** A line of an exchange, of so many octets with its end. */
async function longResponse(client: Pop3Client, length: number): Promise<void> {
  expect(await client.ask('AUTH PLAIN')).toBe('+ ');
  const reply = length > MAX_RESPONSE ? '-ERR response too long' : '-ERR not base64';
  expect(await client.ask('A'.repeat(length - 2))).toBe(reply);
}

test('before login, by a line of SASL and what follows it', async () => {
  const server = await startReal(makePlaces(), usersNamed('alice'), { failureDelay: 20_000 });
  const accepted = nextAccepted();
  const client = await Pop3Client.greeted(server.port);
  const socket = await accepted;
  for (const length of [MAX_RESPONSE - 1, MAX_RESPONSE, MAX_RESPONSE + 1]) await longResponse(client, length);
  await client.ask('AUTH PLAIN');
  const before = socket.bytesRead;
  client.send('A'.repeat(12_000));
  expect(await taken(socket, before + 12_000)).toBe(before + 12_000);
  client.send(FLOOD);
  await client.rest();
  // What the last read has brought beyond it has ended the connection.
  expect(server.logged.at(-1)).toMatch(/ no-login reason=flooded( |$)/);
});

test('before login, of replies that nobody reads, a few', async () => {
  const server = await startReal(makePlaces(), usersNamed('alice'));
  const accepted = nextAccepted();
  const client = await Pop3Client.connect(server.port, { reading: false });
  const socket = await accepted;
  client.send(FLOOD);
  await taken(socket, 1);
  // So many that the kernel takes no more.
  expect(socket.writableLength).toBeGreaterThan(0);
  expect(socket.writableLength).toBeLessThanOrEqual(BOUND / 2);
});

test('after login, while nobody reads the replies', async () => {
  const mail = `From a@example.com Mon Jan  5 10:00:00 2026\n\n${`${'x'.repeat(76)}\n`.repeat(150_000)}\n`;
  const server = await startReal(makePlaces({ alice: mail }), usersNamed('alice'));
  const accepted = nextAccepted();
  const client = await Pop3Client.connect(server.port, { reading: false });
  const socket = await accepted;
  const first = 'USER alice\r\nPASS secret-alice\r\nRETR 1\r\n';
  client.send(first);
  client.send(FLOOD);
  await taken(socket, first.length + 1);
  expect(socket.bytesRead).toBeLessThanOrEqual(first.length + BOUND);
});

test('a pipeline of many small packets is taken as it comes, and answered', async () => {
  const server = await startReal(makePlaces({ alice: '' }), usersNamed('alice'));
  const client = await Pop3Client.loggedIn(server.port, 'alice', 'secret-alice');
  for (let i = 0; i < 2000; i++) client.send('NOOP\r\n');
  for (let i = 0; i < 2000; i++) expect(await client.line()).toBe('+OK nothing done');
});

/**
 * What a client sends ahead is not taken from the kernel before a session wants it: at most 16 KiB a
 * connection, before login as after it. Under TLS it is a record, which is read whole before a word of it is known
 * (16 KiB, RFC 8446 §5.1), and what the kernel hands out with its end.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Pop3Client } from '../support/pop3-client.js';
import { makePlaces, startReal, usersNamed } from '../support/real-server.js';
import { tlsConnect } from '../support/tls/certificates.js';

const BOUND = 16 * 1024;
/** With what encryption adds, and the most that the kernel hands out at a time: see `RECEIVE_BUFFER`. */
const BOUND_TLS = 16 * 1024 + 256 + 8 * 1024;
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

/** Octets taken from the kernel once no more are taken, though there are more. */
async function taken(socket: Socket): Promise<number> {
  for (let before = -1; ; ) {
    const now = socket.bytesRead;
    if (now === before) return now;
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
  expect(await taken(socket)).toBeGreaterThan(first.length);
  expect(socket.bytesRead).toBeLessThanOrEqual(first.length + 30 + BOUND);
});

test('before login, under TLS, whatever the size of its records', async () => {
  const options = { failureDelay: 20_000, certificate: 'ec' } as const;
  const server = await startReal(makePlaces(), usersNamed('alice'), options);
  const clients: { client: Socket; socket: Socket; size: number }[] = [];
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const size of [1, 4000, 8192, 16_384]) {
      const accepted = nextAccepted();
      const client = await tlsConnect({ port: server.tlsPort }, { maxVersion });
      clients.push({ client, socket: await accepted, size });
    }
  }
  const flood = async ({ client, socket, size }: (typeof clients)[number]) => {
    client.pause().write('USER alice\r\nPASS wrong\r\n');
    const before = await taken(socket);
    // There is always another record to read, and a read with the end of one has some of the next.
    for (let at = 0; at < Math.min(FLOOD.length, 300 * size); at += size)
      client.write(FLOOD.subarray(at, at + size));
    return (await taken(socket)) - before;
  };
  for (const [i, octets] of (await Promise.all(clients.map(flood))).entries()) {
    expect(octets).toBeGreaterThan(clients[i]!.size);
    expect(octets).toBeLessThanOrEqual(BOUND_TLS);
  }
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
  expect(await taken(socket)).toBeGreaterThan(first.length);
  expect(socket.bytesRead).toBeLessThanOrEqual(first.length + BOUND);
});

test('a pipeline of many small packets is taken as it comes, and answered', async () => {
  const server = await startReal(makePlaces({ alice: '' }), usersNamed('alice'));
  const client = await Pop3Client.loggedIn(server.port, 'alice', 'secret-alice');
  for (let i = 0; i < 2000; i++) client.send('NOOP\r\n');
  for (let i = 0; i < 2000; i++) expect(await client.line()).toBe('+OK nothing done');
});

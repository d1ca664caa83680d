/** C2, C3: what clients send without end costs the server no memory, and other clients no service. */
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { message } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import type { Running } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { servePlaces, serving } from '../support/serving.js';

const MiB = 1 << 20;
const MOST_GROWTH = 32 * MiB;

/** Another client's session, to its end. */
async function serveBob(port: number): Promise<void> {
  const client = await Pop3Client.loggedIn(port, 'bob', passwordOf('bob'));
  await client.multiline('RETR 1');
  await client.ok('QUIT');
  await client.rest();
}

async function start(): Promise<{ server: Running; port: number; before: number }> {
  const started = await serving(servePlaces({ bob: message('bob') }));
  // What is loaded and compiled at the first sessions is not growth.
  for (let i = 0; i < 20; i++) await serveBob(started.port);
  return { ...started, before: started.server.memory() };
}

/** Sends up to `total` octets, as fast as they are taken. @returns whether all were */
async function flood({ socket }: Pop3Client, chunk: Buffer, total: number): Promise<boolean> {
  for (let sent = 0; sent < total; sent += chunk.length) {
    if (!socket.writable) return false;
    if (!socket.write(chunk)) {
      await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => undefined);
    }
  }
  return socket.writable;
}

test('C2: 100 MB without a newline: at most one -ERR, closed, memory flat, others served meanwhile', async () => {
  const { server, port, before } = await start();
  const client = await Pop3Client.greeted(port);
  const flooding = flood(client, Buffer.alloc(64 * 1024, 'A'), 100 * MiB);
  await serveBob(port);
  expect(await flooding).toBe(false);
  // We do not wait for a flooder to read it: the reset that ends its writes may overtake the reply.
  expect(await client.rest()).toMatch(/^(-ERR command line too long\r\n)?$/);
  await serveBob(port);
  expect(server.memory('VmHWM') - before).toBeLessThan(MOST_GROWTH);
});

test('C3: fifty such clients at once', async () => {
  const { server, port, before } = await start();
  const clients = await Promise.all(Array.from({ length: 49 }, () => Pop3Client.greeted(port)));
  const floods = clients.map(client => flood(client, Buffer.alloc(16 * 1024, 'A'), 10 * MiB));
  await serveBob(port);
  expect(await Promise.all(floods)).toEqual(clients.map(() => false));
  expect(server.memory('VmHWM') - before).toBeLessThan(MOST_GROWTH);
});

test('commands without end, and nobody reads the answers', async () => {
  const { server, port, before } = await start();
  const client = await Pop3Client.connect(port, { reading: false });
  client.send(`USER bob\r\nPASS ${passwordOf('bob')}\r\n`);
  const chunk = Buffer.from('LIST\r\nRETR 1\r\n'.repeat(4096));
  // Taken only as long as the answers are: then the flood stands still.
  let taken = 0;
  client.socket.on('drain', () => {
    taken++;
  });
  const flooding = flood(client, chunk, 100 * MiB);
  await server.logged(/ login user=bob /);
  let seen = -1;
  while (seen !== taken) {
    seen = taken;
    await new Promise(resolve => setTimeout(resolve, 200));
  }
  expect(taken * chunk.length).toBeLessThan(50 * MiB);
  expect(server.memory('VmHWM') - before).toBeLessThan(MOST_GROWTH);
  client.socket.destroy();
  await flooding;
  await server.logged(/ logout user=bob reason=closed /);
  await serveBob(port);
});

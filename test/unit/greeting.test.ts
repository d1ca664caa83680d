/** The greeting that is said before there is a session, over real connections. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { greetAtOnce } from '../../lib/server/greeting.js';
import { serve } from '../../lib/server/session.js';
import { MemoryWorld } from '../support/memory-maildrop.js';

interface Pair {
  readonly client: Socket;
  readonly socket: Socket;
  /** Of `socket`. */
  readonly fd: number;
}

async function pair(): Promise<Pair> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [socket] = (await once(server, 'connection')) as [Socket];
  for (const end of [client, socket]) end.on('error', () => {});
  onTestFinished(() => {
    for (const end of [client, socket]) end.destroy();
    server.close();
  });
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  return { client, socket, fd };
}

test('is what the session would have said, once', async () => {
  const { client, socket, fd } = await pair();
  expect(greetAtOnce({ fd, socket }, 'localhost')).toBe(true);
  let said = '';
  client.setEncoding('latin1').on('data', text => {
    said += text;
  });
  client.write('QUIT\r\n');
  const { services } = new MemoryWorld();
  await serve(socket, { address: '192.0.2.1', port: 1 }, services, { greeted: true });
  expect(said).toMatch(/^\+OK mbox-pop3d at localhost ready\r\n\+OK [^\n]*\r\n$/);
});

test('a client that is gone, or takes nothing, is left to the session', async () => {
  const gone = await pair();
  gone.client.resetAndDestroy();
  await once(gone.client, 'close');
  // The kernel may take a moment to hear of it.
  await expect.poll(() => greetAtOnce(gone, 'localhost'), { timeout: 20_000 }).toBe(false);

  const full = await pair();
  full.client.pause();
  while (full.socket.write(Buffer.alloc(1 << 20)));
  // What the kernels of both ends still take is used up.
  let taken = 0;
  while (greetAtOnce(full, 'localhost') && taken < 1_000_000) taken++;
  expect(taken).toBeLessThan(1_000_000);
});

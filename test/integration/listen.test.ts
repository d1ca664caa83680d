/** Listening: all addresses or none, and nobody is served before the process is ready for it. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { EX } from '../../lib/errors.js';
import { TcpServer } from '../../lib/server/tcp.js';
import { MemoryWorld } from '../support/memory-maildrop.js';
import { Pop3Client } from '../support/pop3-client.js';

function tcpServer(world: MemoryWorld): TcpServer {
  const { services } = world;
  const tcp = new TcpServer({
    services,
    log: services.log,
    maxConnections: 10,
    maxConnectionsPerAddress: 10,
  });
  onTestFinished(() => tcp.close(0));
  return tcp;
}

const LOOPBACK = { host: '127.0.0.1', port: 0 };

test('who connects before start is served after it, and not before', async () => {
  const tcp = tcpServer(new MemoryWorld());
  const [bound] = await tcp.listen([LOOPBACK]);
  const early = await Pop3Client.connect(bound!.port);
  const gone = await Pop3Client.connect(bound!.port);
  early.send('USER mrose\r\nPASS tanstaaf\r\nQUIT\r\n');
  gone.reset();
  // A round trip through the event loop and the network, during which nothing may come.
  const other = createServer(socket => socket.end()).listen(0, '127.0.0.1');
  await once(other, 'listening');
  await (await Pop3Client.connect((other.address() as AddressInfo).port)).rest();
  other.close();
  expect(tcp.connections).toBe(0);
  expect(early.socket.bytesRead).toBe(0);
  tcp.start();
  expect(await early.rest()).toMatch(/^\+OK .*\r\n\+OK .*\r\n\+OK .*\r\n\+OK .*signing off.*\r\n$/);
});

test('an end before start closes what was waiting', async () => {
  const tcp = tcpServer(new MemoryWorld());
  const [bound] = await tcp.listen([LOOPBACK]);
  const early = await Pop3Client.connect(bound!.port);
  await tcp.close(0);
  expect(await early.rest()).toBe('');
});

test('all addresses or none', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void taken.close());
  await once(taken, 'listening');
  const free = createServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  const { port } = free.address() as AddressInfo;
  free.close();
  await once(free, 'close');
  const tcp = tcpServer(new MemoryWorld());
  const refused = tcp.listen([
    { host: '127.0.0.1', port },
    { host: '127.0.0.1', port: (taken.address() as AddressInfo).port },
  ]);
  await expect(refused).rejects.toMatchObject({ name: 'UsageError', exitCode: EX.UNAVAILABLE });
  await expect(Pop3Client.connect(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

/** C67: connection limits, in all and for one address: at one less, at the limit, at one more. */
import { expect, onTestFinished, test, vi } from 'vitest';
import { TcpServer } from '../../lib/server/tcp.js';
import { MemoryWorld } from '../support/memory-maildrop.js';
import { Pop3Client } from '../support/pop3-client.js';

interface Limited {
  readonly world: MemoryWorld;
  readonly tcp: TcpServer;
  /** What a new connection is told first. @param from  an address of 127.0.0.0/8 */
  connect(from?: string): Promise<{ first: string; client: Pop3Client }>;
}

async function limited(maxConnections: number, maxConnectionsPerAddress: number): Promise<Limited> {
  const world = new MemoryWorld();
  const { services } = world;
  const tcp = new TcpServer({ services, log: services.log, maxConnections, maxConnectionsPerAddress });
  const [bound] = await tcp.listen([{ host: '127.0.0.1', port: 0 }]);
  tcp.start();
  onTestFinished(() => tcp.close(0));
  return {
    world,
    tcp,
    connect: async (localAddress = '127.0.0.1') => {
      const client = await Pop3Client.connect(bound!.port, { localAddress });
      return { first: await client.line(), client };
    },
  };
}

/** Leaving is counted a moment after the client has seen it. */
const PATIENCE = { timeout: 30_000, interval: 5 };

const GREETING = /^\+OK /;

test('in all: the one too many is told so and closed; a place that is free again is given', async () => {
  const { connect, tcp, world } = await limited(3, 100);
  const clients: Pop3Client[] = [];
  for (let n = 1; n <= 3; n++) {
    const { first, client } = await connect(`127.0.0.${n}`);
    expect(first).toMatch(GREETING);
    clients.push(client);
  }
  expect(tcp.connections).toBe(3);
  const { first, client: refused } = await connect('127.0.0.9');
  expect(first).toBe('-ERR [SYS/TEMP] too many connections, try again later');
  expect(await refused.rest()).toBe('');
  expect(world.logged).toEqual([expect.stringMatching(/^warn 127\.0\.0\.9 refused reason="too many/)]);
  // The others have noticed nothing.
  await clients[0]!.logIn('mrose', 'tanstaaf');

  await clients[1]!.ok('QUIT');
  await vi.waitFor(() => expect(tcp.connections).toBe(2), PATIENCE);
  expect((await connect('127.0.0.9')).first).toMatch(GREETING);
  expect((await connect('127.0.0.9')).first).toMatch(/^-ERR \[SYS\/TEMP\] /);
});

test('for one address: others are still served', async () => {
  const { connect, tcp } = await limited(100, 2);
  await connect('127.0.0.2');
  const { first, client } = await connect('127.0.0.2');
  expect(first).toMatch(GREETING);
  const third = await connect('127.0.0.2');
  expect(third.first).toBe('-ERR [SYS/TEMP] too many connections from your address, try again later');
  expect(await third.client.rest()).toBe('');
  expect((await connect('127.0.0.3')).first).toMatch(GREETING);

  client.reset();
  await vi.waitFor(() => expect(tcp.connections).toBe(2), PATIENCE);
  expect((await connect('127.0.0.2')).first).toMatch(GREETING);
  expect((await connect('127.0.0.2')).first).toMatch(/^-ERR /);
});

test('a hundred that leave at once, each in its own way, leave no trace', async () => {
  const { connect, tcp, world } = await limited(1000, 1000);
  const clients = await Promise.all(Array.from({ length: 100 }, () => connect()));
  expect(tcp.connections).toBe(100);
  for (const [i, { client }] of clients.entries()) {
    if (i % 4 === 0) client.reset();
    else if (i % 4 === 1) client.socket.end();
    else if (i % 4 === 2) client.send('QUIT\r\n');
    else client.socket.destroy();
  }
  await vi.waitFor(() => expect(tcp.connections).toBe(0), PATIENCE);
  expect(world.logged.filter(line => !line.startsWith('debug'))).toEqual([]);
});

test('before the server serves: no more wait than it will take', async () => {
  const { services, logged } = new MemoryWorld();
  const tcp = new TcpServer({ services, log: services.log, maxConnections: 3, maxConnectionsPerAddress: 9 });
  onTestFinished(() => tcp.close(0));
  const [bound] = await tcp.listen([{ host: '127.0.0.1', port: 0 }]);
  const early = await Promise.all(Array.from({ length: 3 }, () => Pop3Client.connect(bound!.port)));
  const late = await Pop3Client.connect(bound!.port);
  expect(await late.rest()).toBe('-ERR [SYS/TEMP] too many connections, try again later\r\n');
  tcp.start();
  for (const client of early) expect(await client.line()).toMatch(GREETING);
  expect(logged).toEqual([expect.stringMatching(/^warn 127\.0\.0\.1 refused reason="too many/)]);
});

/**
 * `--backlog`: so many connections wait in the kernel for a server that accepts none, be it stopped, and one more
 * (listen(2) on Linux); who comes then is not refused but tries again, and all of them are served in the end.
 */
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { servePlaces, serving } from '../support/serving.js';

const BACKLOG = 3;

test('n, n + 1 and n + 2 of them', async () => {
  const { server, port } = await serving(servePlaces({}), ['--backlog', String(BACKLOG)]);
  process.kill(server.pid, 'SIGSTOP');
  const greetings: string[] = [];
  const clients: Socket[] = [];
  for (let n = 1; n <= BACKLOG + 2; n++) {
    const client = connect(port, '127.0.0.1');
    onTestFinished(() => void client.destroy());
    client.once('data', line => greetings.push(line.toString('latin1')));
    clients.push(client);
    const outcome = await Promise.race([
      new Promise(resolve => client.once('connect', () => resolve('connected'))),
      // On one host there is nothing to wait for; whoever is in the queue is connected by now. If it was we who
      // had to wait for the processor, that is told first.
      new Promise(resolve => setTimeout(() => setImmediate(resolve, 'waits'), 300)),
    ]);
    expect(outcome).toBe(n <= BACKLOG + 1 ? 'connected' : 'waits');
  }
  process.kill(server.pid, 'SIGCONT');
  while (greetings.length < clients.length) await new Promise(resolve => setTimeout(resolve, 20));
  for (const greeting of greetings) expect(greeting).toMatch(/^\+OK /);
  expect(await server.stop()).toBe(0);
});

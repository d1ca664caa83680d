// `serve` under a service manager with a watchdog: it is told that we are ready, and again and again that we live.
import { expect, test } from 'vitest';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { passwordOf } from '../support/real-server.js';
import { ServiceManager } from '../support/service-manager.js';
import { servePlaces, serving } from '../support/serving.js';

const USER = 'alice';
const ALIVE = "'WATCHDOG=1'";

test.each([1, 2])('ready, alive, stopping; workers: %i', async workers => {
  const places = servePlaces({ [USER]: messages(2).join('') });
  const manager = await ServiceManager.start();
  const env = { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '40000' };
  const { server, port } = await serving(places, ['--workers', String(workers)], { env });
  await manager.until(said => said.length > 3);
  expect(manager.said().slice(0, 3)).toEqual([`'READY=1\\nSTATUS=serving ${places.spool}'`, ALIVE, ALIVE]);
  const client = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
  await client.ok('QUIT');
  expect(await server.stop()).toBe(0);
  await manager.until(said => said.includes("'STOPPING=1'"));
  const said = manager.said();
  expect(said.filter(line => line !== ALIVE)).toEqual([said[0], "'STOPPING=1'"]);
});

test('the watchdog of another process is not fed', async () => {
  const places = servePlaces({ [USER]: '' });
  const manager = await ServiceManager.start();
  const env = { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' };
  const { server, port } = await serving(places, [], { env });
  await (await Pop3Client.loggedIn(port, USER, passwordOf(USER))).ok('QUIT');
  await server.stop();
  await manager.until(said => said.length > 1);
  expect(manager.said()).toEqual([`'READY=1\\nSTATUS=serving ${places.spool}'`, "'STOPPING=1'"]);
});

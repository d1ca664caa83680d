// A disk that takes seconds for each fsync(2): the watchdog is told all the while that the server lives.
import { expect, test } from 'vitest';
import { message, messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { passwordOf } from '../support/real-server.js';
import { ServiceManager } from '../support/service-manager.js';
import { servePlaces, serving } from '../support/serving.js';
import { NO_TRACER } from './traced.js';

const USER = 'alice';
/** µs */
const EACH_FSYNC = 1_500_000;
const WATCHDOG = 400_000;

test.skipIf(NO_TRACER)('UPDATE waits for the disk beside the event loop', async () => {
  const places = servePlaces({ [USER]: messages(3).join('') });
  const manager = await ServiceManager.start();
  const { server, port } = await serving(places, [], {
    env: { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: String(WATCHDOG) },
    wrapper: ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `inject=fsync:delay_enter=${EACH_FSYNC}`],
  });
  const client = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
  await client.ok('DELE 1');
  const before = manager.said().length;
  await client.ok('QUIT');
  // Each fsync is as long as seven of them.
  expect(manager.said().length - before).toBeGreaterThan(7);
  expect(places.content(USER)).toBe(message(2) + message(3));
  await server.stop();
});

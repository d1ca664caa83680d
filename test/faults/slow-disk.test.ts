// A disk that takes half a second for each fsync(2): the watchdog is told all the while that the server lives.
import { expect, test } from 'vitest';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { passwordOf } from '../support/real-server.js';
import { ServiceManager } from '../support/service-manager.js';
import { servePlaces, serving } from '../support/serving.js';
import { NO_TRACER } from './traced.js';

const USER = 'alice';
const MAIL = messages(3);
/** µs */
const EACH_FSYNC = 500_000;
const WATCHDOG = 120_000;

test.skipIf(NO_TRACER)('UPDATE waits for the disk beside the event loop', async () => {
  const places = servePlaces({ [USER]: MAIL.join('') });
  const manager = await ServiceManager.start();
  const { server, port } = await serving(places, [], {
    env: { NOTIFY_SOCKET: manager.path, WATCHDOG_USEC: String(WATCHDOG) },
    // Beside the server, which is the process that is told to stop.
    wrapper: ['strace', '-D', '-f', '-qq', '-o', '/dev/null', '-e', `inject=fsync:delay_enter=${EACH_FSYNC}`],
  });
  const client = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
  await client.ok('DELE 1');
  const before = manager.said().length;
  await client.ok('QUIT');
  // Each fsync is as long as eight of them.
  expect(manager.said().length - before).toBeGreaterThan(7);
  expect(places.content(USER)).toBe(MAIL.slice(1).join(''));
  expect(await server.stop()).toBe(0);
});

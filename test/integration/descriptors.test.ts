/** C71: with few descriptors, new connections are refused, old ones are served to their end. */
import { existsSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { connectionsPossible } from '../../lib/server/descriptors.js';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { passwordOf } from '../support/real-server.js';
import { servePlaces, serving } from '../support/serving.js';

test.each([
  ['64', 1],
  ['256', 32],
  ['1024', 160],
  ['unlimited', Number.POSITIVE_INFINITY],
])('%s open files', (limit, connections) => {
  const line = `Max open files            ${limit}                 524288               files\n`;
  expect(connectionsPossible(`Max processes   1 1 processes\n${line}`)).toBe(connections);
});

test('ulimit -n 256, 500 clients: the first are served, the others told so; afterwards all is as before', async () => {
  const users = Array.from({ length: 20 }, (_, i) => `user${i}`);
  const mail = messages(3);
  const places = servePlaces(Object.fromEntries(users.map(user => [user, mail.join('')])));
  const flags = ['--max-connections', '5000', '--max-connections-per-address', '5000'];
  const { server, port } = await serving(places, flags, {
    wrapper: ['sh', '-c', 'ulimit -n 256; exec "$0" "$@"'],
  });
  await server.logged(/fewer-connections possible=32/);
  const sessions = await Promise.all(users.map(user => Pop3Client.loggedIn(port, user, passwordOf(user))));
  const crowd = await Promise.all(Array.from({ length: 500 }, () => Pop3Client.connect(port)));
  const greetings = await Promise.all(crowd.map(client => client.line()));
  expect(greetings.filter(line => line.startsWith('+OK')).length).toBe(12);
  const refused = greetings.filter(line => !line.startsWith('+OK'));
  expect(new Set(refused)).toEqual(new Set(['-ERR [SYS/TEMP] too many connections, try again later']));
  // Everybody deletes, each with a lock and a journal, while the crowd is there.
  await Promise.all(
    sessions.map(async session => {
      await session.ok('DELE 1');
      await session.multiline('RETR 2');
      await session.ok('QUIT');
    }),
  );
  for (const user of users) {
    expect(places.content(user)).toBe(mail.slice(1).join(''));
    expect(existsSync(`${places.mailbox(user)}.lock`)).toBe(false);
  }
  for (const client of crowd) client.reset();
  await vi.waitFor(
    async () => {
      const again = await Pop3Client.loggedIn(port, users[0]!, passwordOf(users[0]!));
      await again.ok('QUIT');
    },
    { timeout: 10_000, interval: 20 },
  );
  const log = server.stderr();
  expect(log.match(/ refused reason/g)?.length).toBeLessThanOrEqual(10);
  expect(log).not.toMatch(/EMFILE|internal-error/);
});

/**
 * Somebody has taken over a worker and guesses passwords by what it may ask the first process: they wait as all others
 * do, and whoever does not keep to it is killed. Real processes.
 */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Channel } from '../../lib/server/worker-channel.js';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { SERVED_BY, servePlaces, serving } from '../support/serving.js';
import { takenOver } from '../support/taken-over.js';
import { pair } from '../support/workers.js';

const FROM = '127.0.0.1';

/** A guess by the channel of a worker. @returns the answer */
async function guess(worker: Channel, name: 'begin' | 'check', place: unknown, password: string) {
  const about = { place, port: 1, method: 'USER', length: 3 };
  return (await worker.call(name, about, Buffer.from(`bob${password}`))).head;
}

const placeIn = async (worker: Channel) => (await worker.call('enter', { address: FROM })).head.place;

test('guesses of a worker that is taken over wait, and past the wait there is nothing but its end', async () => {
  const places = servePlaces({ alice: messages(2).join(''), bob: '' });
  const attacker = await takenOver(places);
  const flags = ['--workers', '2', '--failure-delay', '0', '--max-failure-delay', '3'];
  const starting = serving(places, flags, attacker.options);
  const [worker, { server, port }] = await Promise.all([attacker.next(), starting]);
  const place = await placeIn(worker);
  for (let i = 0; i < 3; i++) {
    expect(await guess(worker, 'begin', place, 'wrong')).toMatchObject({ refused: 'wrong password' });
  }
  // The right one is told no sooner than to anybody else.
  expect(await guess(worker, 'begin', place, passwordOf('bob'))).toMatchObject({ wait: 1000 });
  worker.tell('abandoned', { place });

  // Who is served by the other worker does not notice, but for the failures of this address.
  const client = await Pop3Client.loggedIn(port, 'alice', passwordOf('alice'));
  const other = await Pop3Client.greeted(port);
  await other.ok('USER bob');
  expect(await other.ask('PASS wrong')).toMatch(/^-ERR \[AUTH\] /);
  await server.logged(/ login-failed user=bob .* waited=1\n/);

  const distrusted = (reason: string) =>
    server.logged(
      new RegExp(` worker-distrusted worker=\\d+ reason="it made no sense: ${reason}" connections=1\n`),
    );
  rmSync(attacker.taken);
  expect(await guess(worker, 'begin', place, 'guess')).toMatchObject({ wait: 2000 });
  await expect(guess(worker, 'check', place, passwordOf('bob'))).rejects.toMatchObject({ code: 'SYS/TEMP' });
  await distrusted('a login before its time');

  const next = await attacker.next();
  const without = guess(next, 'check', await placeIn(next), passwordOf('bob'));
  await expect(without).rejects.toMatchObject({ code: 'SYS/TEMP' });
  await distrusted('a login that was not begun');
  const lines = (pattern: RegExp) => (server.stderr().match(pattern) ?? []).length;
  await server.until(() => lines(/ worker-replaced\n/g) === 2);
  expect(lines(/ worker-lost worker=\d+ reason=SIGKILL connections=1 /g)).toBe(2);
  await client.ok('STAT');
  await client.ok('QUIT');
  expect(await server.stop()).toBe(0);
});

test('no process of the server can be read by another of its user', async () => {
  const { server, workers } = await pair(servePlaces({ alice: '' }));
  const read = (pid: number) =>
    spawnSync('cat', [`/proc/${pid}/environ`], {
      ...(IS_ROOT && SERVED_BY),
      encoding: 'latin1',
      timeout: 60_000,
    });
  for (const pid of [server.pid, ...workers.map(worker => worker.pid)]) {
    const { status, stdout, stderr } = read(pid);
    expect([status, stdout, stderr]).toEqual([1, '', expect.stringMatching(/Permission denied/)]);
  }
});

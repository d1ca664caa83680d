/**
 * C71: too few descriptors for all who come. Clients alone never use them up: who is one too many is told so. And
 * when none is left all the same, nobody new comes in, who is in is served, and nothing is lost.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT, type Running } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { SERVED_BY, servePlaces, serving } from '../support/serving.js';
import { Crowd } from './crowd.js';
import { count, descriptors, expectInnocent, expectUntouched } from './siege.js';

const USER = 'alice';
const MAIL = messages(3);
const CLIENTS = 1000;
const LIMIT = 256;

/** The soft limit of open files of a process; as its own user, who may do that without further ado. */
function setLimit({ pid }: Running, most: number): void {
  const args = ['--pid', String(pid), `--nofile=${most}:`];
  const { status, stderr } = spawnSync('prlimit', args, { ...(IS_ROOT && SERVED_BY), encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise(resolve => setTimeout(resolve, 20));
}

/** One after the other, until somebody is served again. */
async function serves(port: number): Promise<void> {
  for (;;) {
    const client = await Pop3Client.connect(port);
    const line = await client.line().catch(() => '');
    client.socket.destroy();
    if (line.startsWith('+OK')) return;
  }
}

test(`${CLIENTS} clients at ${LIMIT} descriptors: each is served or told why not, and a session goes on`, async () => {
  const places = servePlaces({ [USER]: MAIL.join('') });
  const wrapper = ['sh', '-c', `ulimit -n ${LIMIT}; exec "$@"`, 'sh'];
  const { server, port } = await serving(places, [], { wrapper });
  const old = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
  const before = descriptors(server);
  const crowd = await Crowd.open(port, CLIENTS);
  const { content } = await old.multiline('RETR 1');
  await old.ok('DELE 1');
  await until(() => crowd.received.every(text => text !== ''));
  const served = crowd.received.filter(text => text.startsWith('+OK '));
  const refused = crowd.received.filter(
    text => text === '-ERR [SYS/TEMP] too many connections, try again later\r\n',
  );
  expect(served.length + refused.length).toBe(CLIENTS);
  expect(served.length).toBeGreaterThan(10);
  // Two fifths of them are for those who log in, whoever else comes.
  expect(LIMIT - descriptors(server)).toBeGreaterThan((2 / 5) * LIMIT);
  // UPDATE has the descriptors that it needs.
  await old.ok('QUIT');
  expect(content.length).toBeGreaterThan(0);
  await expectUntouched(places, { [USER]: MAIL.slice(1).join('') });
  crowd.leave();
  await until(() => descriptors(server) < before);
  await serves(port);
  await server.logged(/ refused-more of=refused connections=\d{3}\n/);
  // A few lines in each window of ten seconds, and a busy host has several.
  const windows = count(server, / refused-more of=refused /g);
  expect(count(server, / refused reason=/g)).toBeLessThanOrEqual(10 * (windows + 1));
  expect(server.stderr().split('\n').length).toBeLessThan(20 + 11 * (windows + 1));
  expectInnocent(server);
  expect(await server.stop()).toBe(0);
});

test('none is left: nobody is let in, a session reads on, and what it cannot do it says', async () => {
  const places = servePlaces({ [USER]: MAIL.join(''), bob: MAIL.join('') });
  const { server, port } = await serving(places, ['--max-connections', '5000', '--lock-yield', '0']);
  const [alice, bob] = [
    await Pop3Client.loggedIn(port, USER, passwordOf(USER)),
    await Pop3Client.loggedIn(port, 'bob', passwordOf('bob')),
  ];
  // Numbers are given from the lowest; there are gaps.
  const numbers = () => readdirSync(`/proc/${server.pid}/fd`).map(Number);
  const limit = Math.max(...numbers()) + 1;
  setLimit(server, limit);
  const crowd = await Crowd.open(port, CLIENTS);
  await until(() => numbers().length === limit && crowd.left < CLIENTS);
  for (let n = 1; n <= 3; n++) {
    const { content } = await alice.multiline(`RETR ${n}`);
    expect(content.length).toBeGreaterThan(0);
  }
  await alice.ok('DELE 1');
  // All descriptors are taken, those of its journal and its lock as well.
  expect(await alice.ask('QUIT')).toMatch(/^-ERR \[SYS\/TEMP\] /);
  await alice.rest();
  await expectUntouched(places, { [USER]: MAIL.join(''), bob: MAIL.join('') });
  await server.logged(/ update-failed .*EMFILE/);

  setLimit(server, 4000);
  crowd.leave();
  await serves(port);
  await bob.ok('DELE 2');
  await bob.ok('QUIT');
  const again = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
  await again.ok('DELE 1');
  await again.ok('QUIT');
  await again.rest();
  await expectUntouched(places, { [USER]: MAIL.slice(1).join(''), bob: MAIL[0]! + MAIL[2]! });
  expect(await server.stop()).toBe(0);
});

/**
 * Many deliveries at once, with POP3 sessions that delete and some deliveries killed: each message is
 * delivered as often as `deliver` said so, or was fetched by a session that deleted it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { endOf, runDeliver, startDeliver } from '../support/deliver-command.js';
import { Pop3Client } from '../support/pop3-client.js';
import { launch } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { flagsFor, SERVED_BY, type ServePlaces, servePlaces } from '../support/serving.js';

/** Delivered before the first session begins, and all at once while it goes on. */
const BEFORE = 4;
const CROWD = 50;

const idsIn = (text: string) => [...text.matchAll(/^X-Id: (\d+)$/gm)].map(match => match[1]!);
/** Whole messages only: what ends as it was sent. */
const wholeIn = (text: string) => [...text.matchAll(/^End-of: (\d+)$/gm)].map(match => match[1]!);
const text = (id: number) =>
  `X-Id: ${id}\n\nFrom here\n${'a line of it\n'.repeat((id * 997) % 5000)}End-of: ${id}\n`;

function deliverFlags({ spool, users, state }: ServePlaces): string[] {
  return ['--spool', spool, '--users', users, '--state-dir', state, '--lock-timeout', '200'];
}

async function runServer(places: ServePlaces): Promise<number> {
  const ids = { uid: SERVED_BY.uid, gid: SERVED_BY.gid };
  return launch([...flagsFor(places), '--lock-yield', '0', '--lock-timeout', '200'], ids).port();
}

async function logIn(port: number): Promise<Pop3Client> {
  const client = await Pop3Client.greeted(port);
  await client.logIn('alice', passwordOf('alice'));
  return client;
}

/** Fetches all, deletes every second. @returns ids of what was deleted, once QUIT is answered */
async function fetchAndDelete(client: Pop3Client): Promise<string[]> {
  const { length } = await client.listing('LIST');
  const fetched: string[] = [];
  for (let n = 1; n <= length; n += 2) {
    const content = (await client.multiline(`RETR ${n}`)).content.toString('latin1').replaceAll('\r\n', '\n');
    expect(idsIn(content)).toHaveLength(1);
    expect(wholeIn(content)).toEqual(idsIn(content));
    fetched.push(...idsIn(content));
    await client.ok(`DELE ${n}`);
  }
  await client.ok('QUIT');
  await client.rest();
  return fetched;
}

test('fifty deliveries at once and deleting sessions: nothing lost, nothing doubled', async () => {
  const ids = { uid: SERVED_BY.uid, gid: SERVED_BY.gid };
  const places = servePlaces({ alice: '' });
  const deliver = (id: number) =>
    runDeliver([...deliverFlags(places), '-f', `${id}@example.net`, 'alice'], text(id), ids);
  const results = [];
  for (let id = 0; id < BEFORE; id++) results.push(await deliver(id));

  const port = await runServer(places);
  // The first session is there before the crowd, the last ones after it: how many are amid it is the machine's affair.
  const first = await logIn(port);
  let pending = true;
  const crowd = Promise.all(Array.from({ length: CROWD }, (_, n) => deliver(BEFORE + n))).finally(() => {
    pending = false;
  });
  const fetched = await fetchAndDelete(first);
  expect(fetched).toHaveLength(BEFORE / 2);
  while (pending) {
    fetched.push(...(await fetchAndDelete(await logIn(port))));
    await sleep(50);
  }
  results.push(...(await crowd));
  fetched.push(...(await fetchAndDelete(await logIn(port))));

  expect(results.filter(({ code }) => code !== 0)).toEqual([]);
  const all = [...fetched, ...idsIn(places.content('alice'))].map(Number);
  expect(all.sort((a, b) => a - b)).toEqual(Array.from({ length: BEFORE + CROWD }, (_, id) => id));
  expect(wholeIn(places.content('alice'))).toEqual(idsIn(places.content('alice')));
});

test('killed at any moment: what was there stays, and what comes next is a message of its own', async () => {
  const places = servePlaces({ alice: '' });
  const ids = { uid: SERVED_BY.uid, gid: SERVED_BY.gid };
  const long = `X-Id: 99\n\n${'a line of it\n'.repeat(2_000_000)}End-of: 99\n`;
  const told: number[] = [];
  for (let id = 0; id < 12; id++) {
    const killed = startDeliver([...deliverFlags(places), 'alice'], ids);
    const ended = endOf(killed);
    killed.stdin!.end(long);
    // From before it reads to after it has written.
    await sleep(120 + 40 * id);
    killed.kill('SIGKILL');
    if ((await ended).code === 0) told.push(99);
    const { code } = await runDeliver([...deliverFlags(places), 'alice'], text(id), ids);
    expect(code).toBe(0);
    told.push(id);
  }
  const content = places.content('alice');
  const whole = wholeIn(content).map(Number);
  expect(whole.filter(id => id !== 99)).toEqual(told.filter(id => id !== 99));
  expect(whole.filter(id => id === 99).length).toBeGreaterThanOrEqual(told.filter(id => id === 99).length);
  const others = content
    .split(/(?<=\n\n)(?=From \S+ [A-Z][a-z]{2} )/)
    .filter(one => !one.includes('X-Id: 99'));
  expect(others.flatMap(idsIn)).toEqual(told.filter(id => id !== 99).map(String));
});

/** Who works for long, or begins to: a few in each turn of the event loop. */
import { readdirSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { turnToBegin } from '../../lib/maildrop/others-turn.js';
import { BUSY, message, spoolWith } from '../support/mailbox.js';
import { mailSpool, PEER } from '../support/maildrop.js';

const AT_ONCE = 4;

test('a few begin at once, the others as many in each turn after it, in order; nobody overtakes', async () => {
  await turn();
  const begun: number[] = [];
  const begin = (n: number) => {
    const later = turnToBegin();
    if (later) void later.then(() => begun.push(n));
    else begun.push(n);
  };
  for (let n = 0; n < 10; n++) begin(n);
  expect(begun).toEqual([0, 1, 2, 3]);
  await turn();
  begin(10);
  expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  await turn();
  expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  await turn();
  begin(11);
  expect(begun).toHaveLength(12);
});

test('mailboxes that many want at once are opened a few at a time, and all of them', async () => {
  const spool = spoolWith(message(1));
  const server = await mailSpool(spool);
  const users = Array.from({ length: 3 * AT_ONCE }, (_, n) => `user${n}`);
  // Known by now: the way to the spool, which else is waited for.
  await (await server.open({ user: 'alice' }, PEER, BUSY)).release();
  await turn();
  const sessions = () => readdirSync(spool.runtimeDir).filter(name => name.endsWith('.session')).length;
  const before = sessions();
  const opening = users.map(user => server.open({ user }, PEER, BUSY));
  expect(sessions() - before).toBe(AT_ONCE);
  const maildrops = await Promise.all(opening);
  expect(sessions() - before).toBe(users.length);
  for (const maildrop of maildrops) await maildrop.release();
});

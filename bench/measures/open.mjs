/**
 * From connecting to the answer to STAT. Cold: the mailbox was changed, and the server knows nothing about it, but the page
 * cache has it; warm: as the last session left it; and after one delivery.
 */
import { appendFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { ask, inSession, openAndQuit } from '../clients.mjs';
import { delivery } from '../mailboxes.mjs';
import { inRound, inTurns, placeFor } from '../running.mjs';
import { age, change } from '../site.mjs';

const TARGETS = {
  cold: [
    { against: 'best', most: 1 },
    { against: 'limit', most: 1.7 },
  ],
  warm: [
    { against: 'value', most: 5 },
    { against: 'best', most: 0.2 },
  ],
};
/** Time for a change to be older than the clock of the file system can tell apart. */
const SETTLED_MS = 50;

export async function open(bench) {
  for (const { name, user, mailbox, rounds, peers, targets } of bench.mailboxes) {
    const rowFor = (what, kind) =>
      bench.table.row(`${what}, ${name}`, 'ms', {
        targets: targets ? TARGETS[kind] : [],
        limit: kind === 'cold' && 'scan',
      });
    const rows = {
      cold: rowFor('cold open', 'cold'),
      unique: rowFor('cold open, then UIDL'),
      warm: rowFor('warm open', 'warm'),
      delivered: rowFor('open after a delivery', 'warm'),
    };
    const servers = await bench.running.all(bench, rows.cold, peers);
    const pathOf = placeFor(bench, servers, mailbox(), user);
    // Dovecot writes its headers into the file the first time.
    await inTurns(bench, rows.cold, servers, 1, server => openAndQuit(bench, server, user));
    for (let round = 0; round < rounds; round++) {
      rows.cold.limits.push((await ask(bench.tools.limits, 'scan', mailbox().path)).ms);
      await inTurns(bench, rows.cold, inRound(servers, round), 1, server =>
        openInEachWay(bench, rows, server, user, pathOf(server), round),
      );
    }
  }
}

async function openInEachWay(bench, rows, server, user, path, round) {
  const open = async row => row.add(server.name, await openAndQuit(bench, server, user));
  change(path);
  server.forget();
  age(path);
  await pause(SETTLED_MS);
  rows.cold.add(server.name, await openThenUidl(bench, rows.unique, server, user));
  await pause(SETTLED_MS);
  await open(rows.warm);
  appendFileSync(path, delivery(round));
  age(path);
  await pause(SETTLED_MS);
  await open(rows.delivered);
}

async function openThenUidl(bench, row, server, user) {
  return inSession(bench, server, user, async (next, { ms }) => {
    const uidl = await next('list UIDL');
    row.add(server.name, ms + uidl.ms);
    await next('quit');
    return ms;
  });
}

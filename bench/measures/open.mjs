/**
 * From connecting to the answer to STAT. Cold: the mailbox was changed, and the server knows nothing about it, but the page
 * cache has it; warm: as the last session left it; and after one delivery. Each at its leisure, so that server and machine
 * have to wake up for it, as for a client that looks for mail; then unchanged ones in a row.
 *
 * The limit of what is warm is the same dialogue with a server that has nothing to open (fixed-replies.mjs).
 */
import { appendFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { ask, inSession, openAndQuit, openRepeatedly } from '../clients.mjs';
import { delivery } from '../mailboxes.mjs';
import { inRound, inTurns, placeFor } from '../running.mjs';
import { OURS, startLimits } from '../servers.mjs';
import { age, change, SETTLED_MS } from '../site.mjs';

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
/** Unchanged mailboxes, and deliveries, in each round: few of the peers, who read the mailbox each time. */
const OPENS = { ours: 8, peers: 2 };
const IN_A_ROW = 20;
const DIALOGUE = 'fixed replies';

export async function open(bench) {
  const [fixed] = await startLimits(bench, limit => limit === DIALOGUE);
  try {
    for (const mailbox of bench.mailboxes) await measure(bench, mailbox, fixed);
  } finally {
    await fixed.stop();
  }
}

async function measure(bench, { name, user, mailbox, rounds, peers, targets }, fixed) {
  const rows = rowsFor(bench.table, name, targets);
  const servers = await bench.running.all(bench, rows.cold, peers);
  const pathOf = placeFor(bench, servers, mailbox(), user);
  // Dovecot writes its headers into the file the first time.
  await inTurns(bench, rows.cold, [...servers, fixed], 1, server => openAndQuit(bench, server, user));
  for (let round = 0; round < rounds; round++) {
    rows.cold.limits.push((await ask(bench.tools.limits, 'scan', mailbox().path)).ms);
    await inTurns(bench, rows.cold, inRound(servers, round), 1, server =>
      openInEachWay(bench, rows, server, user, pathOf(server), round),
    );
    await talkOnly(bench, rows, fixed, user);
  }
}

function rowsFor(table, name, targets) {
  const row = (what, kind, limit, quantile) =>
    table.row(`${what}, ${name}`, 'ms', { targets: targets ? TARGETS[kind] : [], limit, quantile });
  const nine = what => row(`${what}, 9 of 10 are faster than`, undefined, DIALOGUE, 0.9);
  return {
    cold: row('cold open', 'cold', 'scan'),
    unique: row('cold open, then UIDL'),
    warm: row('warm open', 'warm', DIALOGUE),
    warmNine: nine('warm open'),
    inARow: row(`warm open, ${IN_A_ROW} in a row`, undefined, DIALOGUE),
    delivered: row('open after a delivery', 'warm', DIALOGUE),
    deliveredNine: nine('open after a delivery'),
  };
}

async function openInEachWay(bench, rows, server, user, path, round) {
  const { name } = server;
  const opens = bench.smoke ? 1 : name === OURS ? OPENS.ours : OPENS.peers;
  change(path);
  server.forget();
  age(path);
  await pause(SETTLED_MS);
  rows.cold.add(name, await openThenUidl(bench, rows.unique, server, user));
  for (let n = 0; n < opens; n++) {
    await pause(SETTLED_MS);
    const ms = await openAndQuit(bench, server, user);
    for (const row of [rows.warm, rows.warmNine]) row.add(name, ms);
  }
  if (name === OURS)
    for (const ms of await openRepeatedly(bench, server, user, IN_A_ROW)) rows.inARow.add(name, ms);
  for (let n = 0; n < opens; n++) {
    appendFileSync(path, delivery(round * opens + n));
    age(path);
    await pause(SETTLED_MS);
    const ms = await openAndQuit(bench, server, user);
    for (const row of [rows.delivered, rows.deliveredNine]) row.add(name, ms);
  }
}

async function talkOnly(bench, rows, fixed, user) {
  for (let n = 0; n < (bench.smoke ? 1 : OPENS.ours); n++) {
    await pause(SETTLED_MS);
    const ms = await openAndQuit(bench, fixed, user);
    for (const row of [rows.warm, rows.warmNine, rows.delivered, rows.deliveredNine]) row.limits.push(ms);
  }
  rows.inARow.limits.push(...(await openRepeatedly(bench, fixed, user, IN_A_ROW)));
}

async function openThenUidl(bench, row, server, user) {
  return inSession(bench, server, user, async (next, { ms }) => {
    const uidl = await next('list UIDL');
    row.add(server.name, ms + uidl.ms);
    await next('quit');
    return ms;
  });
}

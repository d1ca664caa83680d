/** UIDL, cold, after a delivery and again, and the headers (TOP n 0) of everything: what clients ask for that leave mail on the server. */
import { appendFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { inSession, openAndQuit } from '../clients.mjs';
import { delivery } from '../mailboxes.mjs';
import { inRound, inTurns, placeFor } from '../running.mjs';
import { age, change, SETTLED_MS } from '../site.mjs';

const DELIVERIES = 3;

export async function listing(bench) {
  const { user, mailbox, name } = bench.mailboxes.find(({ main }) => main);
  const targets = [{ against: 'best', most: 1 }];
  const rates = { better: 'more', digits: 0, targets: [{ against: 'best', least: 1 }] };
  const rows = {
    cold: bench.table.row(`UIDL of everything, changed mailbox, ${name}`, 'ms'),
    uidl: bench.table.row(`UIDL of everything, ${name}`, 'ms', { targets }),
    delivered: bench.table.row(`UIDL of everything after a delivery, ${name}`, 'ms', { targets }),
    top: bench.table.row(`TOP n 0 of everything, 32 in flight, ${name}`, '1/s', rates),
    single: bench.table.row(`TOP n 0 of everything, one at a time, ${name}`, '1/s', rates),
  };
  const uidlOnly = (server, row) =>
    inSession(bench, server, user, async next => {
      row.add(server.name, (await next('list UIDL')).ms);
      await next('quit');
    });
  const measure = async (server, path, round) => {
    change(path);
    server.forget();
    age(path);
    await uidlOnly(server, rows.cold);
    for (let n = 0; n < DELIVERIES; n++) {
      appendFileSync(path, delivery(round * DELIVERIES + n));
      age(path);
      await pause(SETTLED_MS);
      await uidlOnly(server, rows.delivered);
    }
    await inSession(bench, server, user, async next => {
      rows.uidl.add(server.name, (await next('list UIDL')).ms);
      for (const [row, depth] of [
        [rows.top, 32],
        [rows.single, 1],
      ]) {
        const { ms, messages } = await next(`all TOP ${depth} ${bench.mostMs}`);
        row.add(server.name, (messages / ms) * 1e3);
      }
      await next('quit');
    });
  };
  const servers = await bench.running.all(bench, rows.cold);
  const pathOf = placeFor(bench, servers, mailbox(), user);
  await inTurns(bench, rows.cold, servers, 1, server => openAndQuit(bench, server, user));
  for (let round = 0; round < Math.min(bench.rounds, 3); round++)
    await inTurns(bench, rows.cold, inRound(servers, round), 1, server =>
      measure(server, pathOf(server), round),
    );
}

/**
 * Whole sessions per second (connect, USER, PASS, STAT, QUIT, end of the connection) of 1, 8 and 64 clients, each with a
 * small mailbox of its own, and the time of one. All servers check the same DES hash. The limit is what Node.js does that
 * gives the same replies without a session behind them (fixed-replies.mjs), with the same clients on the same cores.
 */
import { execFileSync } from 'node:child_process';
import { ask } from '../clients.mjs';
import { findPeers, OURS, PROGRAM, startFixedReplies, startOurs, startPeer } from '../servers.mjs';
import { PASSWORD } from '../site.mjs';

const TARGETS = { rate: [{ against: 'best', least: 3 }], p99: [{ against: 'best', most: 1 }] };

/** More ways to run a server than the one that all measures have. */
function otherKinds(bench) {
  const kinds = [
    {
      text: ', no verified logins',
      server: OURS,
      start: () => startOurs(bench, { flags: ['--auth-cache', '0'] }),
    },
  ];
  if (hasWorkers())
    kinds.push({
      text: ', 2 workers',
      server: OURS,
      start: () => startOurs(bench, { flags: ['--workers', '2'] }),
    });
  if (findPeers().found.includes('Dovecot')) {
    // Its "high-performance mode", but a process for each mailbox, as where users have uids of their own.
    const dovecot = mode => () => startPeer(bench, 'Dovecot', mode);
    kinds.push({
      text: ', Dovecot with a process for each',
      server: 'Dovecot',
      start: dovecot('fast logins'),
    });
    kinds.push({ text: ', Dovecot as installed', server: 'Dovecot', start: dovecot('as installed') });
  }
  return kinds;
}

export async function sessions(bench) {
  const others = otherKinds(bench);
  const tables = bench.clients.map(clients => ({
    clients,
    usual: rowsFor(bench, clients, ''),
    others: others.map(({ text, server }) => rowsFor(bench, clients, text, server)),
  }));
  const servers = await bench.running.all(bench, tables[0].usual.rate);
  const started = [];
  const fixed = await startFixedReplies(bench);
  try {
    for (const [n, { server, start }] of others.entries())
      await bench.table.attempt(tables[0].others[n].rate, server, async () => {
        started[n] = await start();
      });
    for (const { clients, usual, others } of tables) {
      const all = servers.map(server => ({ server, rows: usual }));
      for (const [n, server] of started.entries()) if (server) all.push({ server, rows: others[n] });
      all.push({ server: fixed, rows: usual });
      await measure(bench, clients, all);
      for (const rows of others)
        for (const what of ['rate', 'p99']) if (rows[what].samples.has(OURS)) rows[what].peersOf(usual[what]);
    }
  } finally {
    for (const server of [...started, fixed]) await server?.stop();
  }
}

async function measure(bench, clients, all) {
  const load = (port, seconds) => ask(bench.tools.load, 'sessions', port, PASSWORD, clients, seconds);
  for (let round = 0; round <= Math.min(bench.rounds, 3); round++) {
    for (const { server, rows } of all) {
      await bench.table.attempt(rows.rate, server.name, async () => {
        // First each user once, so that nothing is new.
        const { sessions, seconds, p50, p99 } = await load(server.port, round === 0 ? 0 : bench.seconds);
        if (round === 0) return;
        if (server.isLimit) {
          for (const [what, figure] of Object.entries({ rate: sessions / seconds, p50, p99 }))
            rows[what].limits.push(figure);
          return;
        }
        rows.rate.add(server.name, sessions / seconds);
        rows.p50?.add(server.name, p50);
        rows.p99.add(server.name, p99);
      });
    }
  }
}

/** @param server whom it is about, if it is about one */
function rowsFor({ table }, clients, text, server) {
  const targets = clients > 1 && server !== 'Dovecot' ? TARGETS : {};
  const limit = 'fixed replies';
  const rate = { better: 'more', digits: 0, limit, targets: targets.rate };
  return {
    rate: table.row(`sessions, ${clients} at once${text}`, '1/s', rate),
    p50:
      server === undefined ? table.row(`p50 of a session, ${clients} at once`, 'ms', { limit }) : undefined,
    p99: table.row(`p99 of a session, ${clients} at once${text}`, 'ms', { limit, targets: targets.p99 }),
  };
}

function hasWorkers() {
  const help = [PROGRAM, 'serve', '--help'];
  return execFileSync(process.execPath, help, { encoding: 'utf8' }).includes('--workers');
}

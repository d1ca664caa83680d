/**
 * Whole sessions per second (connect, USER, PASS, STAT, QUIT, end of the connection) of 1, 8 and 64 clients, each with a
 * small mailbox of its own, and the time of one. All servers check the same DES hash.
 */
import { execFileSync } from 'node:child_process';
import { ask } from '../clients.mjs';
import { inTurns } from '../running.mjs';
import { findPeers, OURS, startOurs, startPeer } from '../servers.mjs';
import { PASSWORD } from '../site.mjs';

const MINIMUM = [{ against: 'best', least: 3 }];

export async function sessions(bench) {
  const kinds = [
    { name: '', server: () => startOurs(bench) },
    { name: ', no verified logins', server: () => startOurs(bench, ['--auth-cache', '0'], 'serve') },
    ...(hasWorkers() ? [{ name: ', 2 workers', server: () => startOurs(bench, ['--workers', '2']) }] : []),
    // Its documented "high-performance mode", but a process for each mailbox, as where users have uids of their own.
    { name: ', Dovecot with a process for each session', peer: true, mode: 'fast logins' },
    { name: ', Dovecot as installed', peer: true, mode: 'as installed' },
  ];
  const peers = findPeers().found;
  const first = bench.table.row('sessions', '');
  const running = [];
  const start = (name, kind, server) =>
    bench.table.attempt(first, name, async () => running.push({ ...(await server()), kind }));
  try {
    for (const name of peers) await start(name, kinds[0], () => startPeer(bench, name));
    for (const kind of kinds) {
      if (!kind.peer) await start(OURS, kind, kind.server);
      else if (peers.includes('Dovecot'))
        await start('Dovecot', kind, () => startPeer(bench, 'Dovecot', kind.mode));
    }
    for (const clients of bench.clients) await measure(bench, clients, kinds, running);
  } finally {
    for (const server of running) await server.stop();
  }
}

async function measure(bench, clients, kinds, running) {
  const rows = new Map(
    kinds.map(kind => [
      kind,
      {
        rate: bench.table.row(`sessions, ${clients} at once${kind.name}`, '1/s', {
          better: 'more',
          digits: 0,
          targets: clients > 1 && !kind.peer ? MINIMUM : [],
        }),
        p50: bench.table.row(`p50 of a session, ${clients} at once${kind.name}`, 'ms'),
        p99: bench.table.row(`p99 of a session, ${clients} at once${kind.name}`, 'ms', {
          targets: clients > 1 && !kind.peer ? [{ against: 'best', most: 1 }] : [],
        }),
      },
    ]),
  );
  const load = (port, seconds) => ask(bench.tools.load, 'sessions', port, PASSWORD, clients, seconds);
  const first = rows.get(kinds[0]).rate;
  await inTurns(bench, first, running, 1, ({ port }) => load(port, 0)); // Each user once.
  await inTurns(bench, first, running, Math.min(bench.rounds, 3), async ({ port, kind, name }) => {
    const { sessions, seconds, p50, p99 } = await load(port, bench.seconds);
    const row = rows.get(kind);
    row.rate.add(name, sessions / seconds);
    row.p50.add(name, p50);
    row.p99.add(name, p99);
  });
  for (const kind of kinds.slice(1)) {
    if (kind.peer) continue;
    for (const what of ['rate', 'p50', 'p99']) rows.get(kind)[what].peersOf(rows.get(kinds[0])[what]);
  }
}

function hasWorkers() {
  const program = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;
  return execFileSync(process.execPath, [program, 'serve', '--help'], { encoding: 'utf8' }).includes(
    '--workers',
  );
}

/**
 * Whole sessions per second (connect, USER, PASS, STAT, QUIT, end of the connection) of 1, 8 and 64 clients, each with a
 * small mailbox of its own, the time of one, and its CPU time. All servers check the same DES hash. The limits are what
 * Node.js does that gives the same replies without a session behind them (fixed-replies.mjs), and Node.js and C with no more
 * behind them than the system calls that our promises take (c/calls.c): the same clients, on the same cores, which
 * they take their share of. Of a server with workers it is also told what the first process uses, which they all ask.
 */
import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { ask } from '../clients.mjs';
import { cpuTime, cpuTimeOf } from '../processes.mjs';
import { findPeers, OURS, PROGRAM, startLimits, startOurs, startPeer } from '../servers.mjs';
import { PASSWORD } from '../site.mjs';
import { median } from '../table.mjs';

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
  const limits = await startLimits(bench);
  try {
    for (const [n, { server, start }] of others.entries())
      await bench.table.attempt(tables[0].others[n].rate, server, async () => {
        started[n] = await start();
      });
    for (const { clients, usual, others } of tables) {
      const all = servers.map(server => ({ server, rows: usual }));
      for (const [n, server] of started.entries()) if (server) all.push({ server, rows: others[n] });
      for (const server of limits) all.push({ server, rows: usual });
      await measure(bench, clients, all);
      bench.table.note(arithmetic(clients, usual));
      for (const rows of others)
        for (const what of ['rate', 'p99']) if (rows[what].samples.has(OURS)) rows[what].peersOf(usual[what]);
    }
  } finally {
    for (const server of [...started, ...limits]) await server?.stop();
  }
}

async function measure(bench, clients, all) {
  const load = (port, seconds) => ask(bench.tools.load, 'sessions', port, PASSWORD, clients, seconds);
  for (let round = 0; round <= Math.min(bench.rounds, 3); round++) {
    for (const { server, rows } of all) {
      await bench.table.attempt(rows.rate, server.name, async () => {
        // First each user once, so that nothing is new; and then for longer than a round, as a daemon has served for
        // days, and each process of ours compiles its code in its first thousands of sessions.
        if (round === 0) {
          await load(server.port, 0);
          await load(server.port, bench.seconds * 2);
          return;
        }
        const times = () => [cpuTime(server.pid), cpuTimeOf([server.pid])];
        const before = times();
        const { sessions, seconds, p50, p99, cpu } = await load(server.port, bench.seconds);
        const [used, first] = times().map((time, i) => (time - before[i]) / sessions);
        const figures = { rate: sessions / seconds, p50, p99, cpu: used, first, own: cpu / sessions };
        for (const [what, figure] of Object.entries(figures)) {
          if (server.limit === undefined) rows[what]?.add(server.name, figure);
          else rows[what]?.addLimit(server.limit, figure);
        }
      });
    }
  }
}

/** What follows from the CPU times: of one thread, and where all cores are shared between server and clients. */
function arithmetic(clients, { rate, cpu, own }) {
  const cores = availableParallelism();
  const kinds = [[OURS, cpu.median(OURS), own.median(OURS)]];
  for (const [limit, samples] of cpu.otherLimits)
    kinds.push([limit, median(samples), median(own.otherLimits.get(limit))]);
  const most = kinds.map(([name, server, client]) => {
    const [thread, all] = [1000 / server, (cores * 1000) / (server + client)].map(Math.round);
    return `${name} ${thread} in one thread, ${Math.min(thread * cores, all)} on all ${cores} cores, clients included`;
  });
  const three = rate.best === undefined ? '' : ` Three times the best peer is ${Math.round(3 * rate.best)}.`;
  return `Sessions, ${clients} at once: by CPU time at most ${most.join('; ')}.${three}`;
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
    cpu:
      server === 'Dovecot'
        ? undefined
        : table.row(`server CPU of a session, ${clients} at once${text}`, 'ms', { limit, digits: 3 }),
    first: text.endsWith(' workers')
      ? table.row(`of that the first process, ${clients} at once${text}`, 'ms', { digits: 3 })
      : undefined,
    own:
      server === undefined
        ? table.row(`CPU of the clients themselves, ${clients} at once`, 'ms', { limit, digits: 3 })
        : undefined,
  };
}

function hasWorkers() {
  const help = [PROGRAM, 'serve', '--help'];
  return execFileSync(process.execPath, help, { encoding: 'utf8' }).includes('--workers');
}

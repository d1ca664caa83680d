/**
 * Memory of all processes of a server with sessions that are logged in and idle: resident, and proportional, in
 * which what processes share counts once. And what one session with the biggest mailbox takes at its most.
 *
 * Idle means here what it means after 15 seconds: the mailbox locks are given back. Where descriptors are few, idle
 * sessions do without theirs; so 10,000 of them need some 15,000, and not all at work at once.
 */
import { execFileSync } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { DescriptorBudget, openFilesLimit } from '../../dist/lib/server/descriptors.js';
import { Conversation, inSession, openAndQuit } from '../clients.mjs';
import { memory as memoryOf } from '../processes.mjs';
import { inTurns, placeFor } from '../running.mjs';
import { findPeers, OURS, RAISE_LIMIT, startOurs, startPeer } from '../servers.mjs';
import { PASSWORD } from '../site.mjs';

const SETTLED_MS = 1500;
/** So many log in without a pause, in which they go to rest. */
const AT_A_TIME = 1000;
const REST_MS = 1100;
const KiB_PER_MiB = 1024;
/** How many sessions peers are asked to have: processes each. */
const PEERS_MOST = 100;
/** KiB for each session beyond the first. */
const EACH = [{ against: 'value', most: 30 }];

export async function memory(bench) {
  const most = Math.min(bench.smoke ? 50 : 10_000, sessionsPossible(bench));
  const counts = [...(bench.smoke ? [1, 20] : [1, 100, 1000]), most];
  const rows = counts.map(count => ({
    count,
    pss: bench.table.row(`memory, ${count} sessions, PSS`, 'MiB'),
    rss: bench.table.row(`memory, ${count} sessions, RSS`, 'MiB'),
    each: bench.table.row(`memory, each of ${count} sessions beyond the first`, 'KiB', {
      targets: count === most ? EACH : [],
    }),
  }));
  const [first] = rows;
  await bench.table.attempt(first.pss, OURS, async () => {
    const users = bench.site.addUsers(most);
    const server = await startOurs(bench, { users, flags: ['--lock-yield', '0'] });
    await hold(bench, server, rows);
  });
  for (const name of findPeers().found) {
    await bench.table.attempt(first.pss, name, async () => {
      const mode = 'fast logins';
      await hold(
        bench,
        await startPeer(bench, name, mode),
        rows.filter(({ count }) => count <= PEERS_MOST),
      );
    });
  }
  await peak(bench);
}

/** As many as the limit of open files leaves room for, which not every root may raise. */
function sessionsPossible({ table }) {
  const script = `${RAISE_LIMIT}; cat /proc/self/limits`;
  const budget = new DescriptorBudget(
    openFilesLimit(execFileSync('sh', ['-c', script], { encoding: 'utf8' })),
  );
  let possible = 0;
  const awake = [];
  for (; possible < 10_000; possible++) {
    const session = budget.connect() && budget.logIn();
    if (session === undefined) break;
    awake.push(session);
    if (session.scarce) for (const idle of awake.splice(0)) idle.rest();
  }
  if (possible < 10_000) table.note(`The limit of open files allows ${possible} sessions here, not 10,000.`);
  return possible;
}

/** More and more sessions; stops the server. */
async function hold(bench, server, rows) {
  const holders = [];
  try {
    let [held, alone] = [0, 0];
    for (const { count, pss, rss, each } of rows) {
      while (held < count) {
        if (held > 0) await pause(REST_MS);
        const more = Math.min(AT_A_TIME, count - held);
        const holder = new Conversation(bench.tools.load, 'idle', server.port, PASSWORD, held, more);
        holders.push(holder);
        await holder.next();
        held += more;
      }
      await pause(bench.smoke ? 200 : SETTLED_MS);
      const used = memoryOf(server.pid);
      pss.add(server.name, used.pss / KiB_PER_MiB);
      rss.add(server.name, used.rss / KiB_PER_MiB);
      if (count === 1) alone = used.pss;
      else each.add(server.name, (used.pss - alone) / (count - 1));
    }
  } finally {
    for (const holder of holders) holder.kill();
    await server.stop();
  }
}

/** What one session adds to a server at its most: UIDL, headers and mail; then, here, an UPDATE of every second message. */
async function peak(bench) {
  const { user, mailbox, name, peers } = bench.mailboxes.find(({ largest }) => largest);
  const targets = [{ against: 'value', most: 100 }];
  const row = bench.table.row(`peak memory over idle, ${name}`, 'MiB', { targets });
  const updating = bench.table.row(`peak memory over idle, every second deleted, ${name}`, 'MiB', {
    targets,
  });
  const measure = async server => {
    await openAndQuit(bench, server, 'u0');
    const idle = memoryOf(server.pid).rss;
    const over = () => (memoryOf(server.pid).most - idle) / KiB_PER_MiB;
    await inSession(bench, server, user, async (next, { messages }) => {
      await next('list UIDL');
      for (const verb of ['TOP', 'RETR']) await next(`all ${verb} 32 ${bench.mostMs}`);
      row.add(server.name, over());
      if (server.name === OURS) await next(`dele 1 ${messages} 2`);
      await next('quit');
      if (server.name === OURS) updating.add(OURS, over());
    });
  };
  await bench.running.stop(); // What they have seen before is not idle.
  const servers = await bench.running.all(bench, row, peers);
  placeFor(bench, servers, mailbox(), user, { keep: true });
  await inTurns(bench, row, servers, 1, measure);
}

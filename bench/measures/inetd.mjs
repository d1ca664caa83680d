/**
 * A fresh process for each connection, as inetd's `nowait` has it: to the greeting, and to the answer to STAT. Beside it Node.js
 * that does nothing, started by the same inetd; and `wait`, where one process serves all connections, beside the daemon.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Conversation, inSession } from '../clients.mjs';
import { inTurns } from '../running.mjs';
import { findPeers, OURS, startOurs, startPeer } from '../servers.mjs';

const BARE = 'bare node';
const DAEMON = 'daemon';

export async function inetd(bench) {
  const { table } = bench;
  const rows = {
    greeting: table.row('inetd nowait, to the greeting', 'ms', {
      limit: BARE,
      targets: [{ against: 'limit', most: 1.25 }],
    }),
    stat: table.row('inetd nowait, to STAT', 'ms', { limit: BARE }),
    first: table.row('inetd wait, first connection, to the greeting', 'ms', { limit: BARE }),
    waitGreeting: table.row('inetd wait, to the greeting', 'ms', { digits: 2, limit: DAEMON }),
    waitStat: table.row('inetd wait, to STAT', 'ms', {
      digits: 2,
      limit: DAEMON,
      targets: [{ against: 'limit', most: 1.2 }],
    }),
  };
  const [fresh, shared] = [[], []];
  const bare = await startBare(bench);
  try {
    const start = (row, name, list, server) =>
      table.attempt(row, name, async () => list.push({ ...(await server()), name }));
    await start(rows.greeting, OURS, fresh, () => startOurs(bench, { how: 'nowait' }));
    for (const name of findPeers().found)
      if (name !== 'Dovecot') await start(rows.greeting, name, fresh, () => startPeer(bench, name));
    await start(rows.waitGreeting, OURS, shared, () => startOurs(bench, { how: 'wait' }));
    await start(rows.waitGreeting, DAEMON, shared, () => startOurs(bench));
    await measure(bench, rows, fresh, shared, bare);
  } finally {
    for (const server of [...fresh, ...shared]) await server.stop();
    bare.child.kill();
  }
}

async function measure(bench, rows, fresh, shared, bare) {
  await inTurns(bench, rows.first, shared.slice(0, 1), 1, async server => {
    rows.first.add(OURS, (await open(bench, server, 'u0')).greeting);
  });
  for (let round = 0; round < (bench.smoke ? 2 : 15); round++) {
    for (const row of [rows.greeting, rows.stat, rows.first]) row.limits.push(await timeToEnd(bench, bare));
    await inTurns(bench, rows.greeting, fresh, 1, async server => {
      const { greeting, ms } = await open(bench, server, `u${round % 8}`);
      rows.greeting.add(server.name, greeting);
      rows.stat.add(server.name, ms);
    });
    for (let n = 0; n < 8; n++) {
      await inTurns(bench, rows.waitGreeting, shared, 1, async server => {
        const { greeting, ms } = await open(bench, server, `u${n}`);
        if (server.name === DAEMON) rows.waitGreeting.limits.push(greeting) && rows.waitStat.limits.push(ms);
        else rows.waitGreeting.add(OURS, greeting) ?? rows.waitStat.add(OURS, ms);
      });
    }
  }
}

function open(bench, server, user) {
  return inSession(bench, server, user, async (next, opened) => {
    await next('quit');
    return opened;
  });
}

async function startBare({ tools }) {
  const child = spawn(tools.inetd, ['nowait', process.execPath, '-e', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  return { child, port: Number(/:(\d+)$/.exec(line)[1]) };
}

/** Until the process that was started for the connection is gone. */
async function timeToEnd({ tools }, { port }) {
  const client = new Conversation(tools.session, port);
  const { ms } = await client.next('end');
  client.end();
  await client.ended();
  return ms;
}

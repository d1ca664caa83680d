/**
 * How long the commands of one session wait while another opens the biggest mailbox, which was changed: NOOP at a steady
 * pace, so that one long stall counts for all the commands that it delays.
 */
import { Conversation, openAndQuit } from '../clients.mjs';
import { inTurns, placeFor } from '../running.mjs';
import { age, change, PASSWORD } from '../site.mjs';

const PACE_MICROSECONDS = 1000;
const ALONE_MS = 500;

export async function delay(bench) {
  const { user, mailbox, name, peers } = bench.mailboxes.find(({ largest }) => largest);
  const rowFor = (when, targets = []) => ({
    p50: bench.table.row(`p50 of NOOP ${when}`, 'ms', { digits: 2 }),
    p99: bench.table.row(`p99 of NOOP ${when}`, 'ms', { digits: 2, targets }),
    most: bench.table.row(`longest NOOP ${when}`, 'ms', { digits: 2 }),
  });
  const alone = rowFor('alone');
  const beside = rowFor(`while ${name} is indexed`, [{ against: 'value', most: 20 }]);
  const probe = async (server, rows, meanwhile) => {
    const args = ['noops', server.port, PASSWORD, 'u0', PACE_MICROSECONDS];
    const client = new Conversation(bench.tools.load, ...args);
    await client.next();
    await meanwhile();
    client.end();
    const times = await client.next();
    for (const what of ['p50', 'p99', 'most']) rows[what].add(server.name, times[what]);
  };
  // Dovecot takes ten seconds for each, and has a process for each session.
  const servers = await bench.running.all(bench, beside.p99, name => name !== 'Dovecot' && peers(name));
  const pathOf = placeFor(bench, servers, mailbox(), user, { keep: true });
  await inTurns(bench, beside.p99, servers, bench.smoke ? 1 : 3, async server => {
    change(pathOf(server));
    server.forget();
    age(pathOf(server));
    await probe(server, alone, () => new Promise(resolve => setTimeout(resolve, ALONE_MS)));
    await probe(server, beside, () => openAndQuit(bench, server, user));
  });
}

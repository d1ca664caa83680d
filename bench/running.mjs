/** Servers for as long as something is measured, and taking turns, so that a busy machine is busy for all of them. */
import { join } from 'node:path';
import { findPeers, OURS, startOurs, startPeer } from './servers.mjs';

/**
 * Starts this server and the peers, calls `measure` with those that started, and stops them.
 *
 * @param row where it is written if one does not start
 * @param {(name: string) => boolean} which of the peers
 */
export async function withServers(bench, row, measure, which = () => true) {
  const servers = [];
  try {
    for (const name of [OURS, ...findPeers().found.filter(which)]) {
      await bench.table.attempt(row, name, async () => {
        servers.push(name === OURS ? await startOurs(bench) : await startPeer(bench, name));
      });
    }
    await measure(servers);
  } finally {
    for (const server of servers) await server.stop();
  }
}

/** Each server in turn, `rounds` times. A server that fails is left out of the row from then on. */
export async function inTurns(bench, row, servers, rounds, measure) {
  for (let round = 0; round < rounds; round++) {
    for (const server of servers) await bench.table.attempt(row, server.name, () => measure(server, round));
  }
}

/** Those for whom a round of a big mailbox takes long take part in the first one only. */
export function inRound(servers, round) {
  return round === 0 ? servers : servers.filter(({ name }) => name !== 'Mailutils' && name !== 'Solid');
}

/** Copies a mailbox into the spool of each. @returns the path of a server's copy */
export function placeFor(bench, servers, mailbox, user) {
  const pathOf = server => join(server.spool, user);
  for (const server of servers) bench.site.place(mailbox, pathOf(server));
  return pathOf;
}

/** Servers for as long as something is measured, and taking turns, so that a busy machine is busy for all of them. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { findPeers, OURS, startOurs, startPeer } from './servers.mjs';

/** This server and those peers that this host has, started when they are needed first, for all measures. */
export class Running {
  #servers = new Map();

  /**
   * @param row where it is written if one does not start
   * @param {(name: string) => boolean} which of the peers
   */
  async all(bench, row, which = () => true) {
    const names = [OURS, ...findPeers().found.filter(which)];
    for (const name of names) {
      if (this.#servers.has(name)) continue;
      await bench.table.attempt(row, name, async () => {
        this.#servers.set(name, name === OURS ? await startOurs(bench) : await startPeer(bench, name));
      });
    }
    return names.flatMap(name => this.#servers.get(name) ?? []);
  }

  async stop() {
    await Promise.all([...this.#servers.values()].map(server => server.stop()));
    this.#servers.clear();
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

/**
 * Copies a mailbox into the spool of each.
 *
 * @param {{ keep?: boolean }} [options] keep: what an earlier measure has left will do
 * @returns the path of a server's copy
 */
export function placeFor(bench, servers, mailbox, user, { keep = false } = {}) {
  const pathOf = server => join(server.spool, user);
  for (const server of servers)
    if (!keep || !existsSync(pathOf(server))) bench.site.place(mailbox, pathOf(server));
  return pathOf;
}

/**
 * The time of QUIT after deletions, which is that of the UPDATE state: beside it, writing what is left into a new
 * file and fsync(2). Only this server survives a crash in the middle.
 */
import { join } from 'node:path';
import { ask, inSession, openAndQuit } from '../clients.mjs';
import { inRound, inTurns, placeFor } from '../running.mjs';

export async function update(bench) {
  const { user, mailbox, name } = bench.mailboxes.find(({ main }) => main);
  const { path, messages, starts, octets } = mailbox();
  const kinds = [
    {
      what: 'first',
      dele: '1 1 1',
      kept: [starts[1], octets - starts[1]],
      targets: [{ against: 'limit', most: 3 }],
    },
    { what: 'every second', dele: `1 ${messages} 2`, kept: [0, Math.round(octets / 2)] },
    { what: 'last', dele: `${messages} ${messages} 1`, targets: [{ against: 'best', most: 0.1 }] },
    { what: 'all', dele: `1 ${messages} 1`, targets: [{ against: 'best', most: 0.1 }] },
  ].map(kind => ({
    ...kind,
    row: bench.table.row(`QUIT, ${kind.what} deleted, ${name}`, 'ms', {
      limit: 'copy',
      targets: kind.targets,
    }),
  }));
  const servers = await bench.running.all(bench, kinds[0].row);
  for (let round = 0; round < Math.min(bench.rounds, 3); round++) {
    for (const { what, dele, kept, row } of kinds) {
      if (kept !== undefined) {
        const copy = join(bench.site.directory('copies'), `${what}-${round}`);
        row.limits.push((await ask(bench.tools.limits, 'copy', path, ...kept, copy)).ms);
      }
      await inTurns(bench, row, inRound(servers, round), 1, async server => {
        placeFor(bench, [server], mailbox(), user);
        await openAndQuit(bench, server, user); // Nobody's index is new, and Dovecot has written its headers.
        await inSession(bench, server, user, async next => {
          await next(`dele ${dele}`);
          row.add(server.name, (await next('quit')).ms);
        });
      });
    }
  }
}

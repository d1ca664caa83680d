/**
 * The time of QUIT after deletions, which is that of the UPDATE state. The mailbox has been there for a while: who logs in
 * within milliseconds of a delivery has it read again before anything of it is deleted.
 *
 * Limits: writing what is left into a new file, with fsync(2), where messages have to move; where only the end of the file
 * goes, ftruncate(2) of the same octets, without and with fsync(2). Only this server survives a crash in the middle, and
 * only it answers when the deletions are on the disk. The peers do little besides that ftruncate(2), which takes the
 * system the longer the more goes: a tenth of the best of them may be less than what it takes alone (see the notes).
 */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ask, inSession, openAndQuit } from '../clients.mjs';
import { inRound, inTurns, placeFor } from '../running.mjs';
import { SETTLED_MS } from '../site.mjs';

const COPY = 'copy';
const CUT = 'ftruncate';
const CUT_SYNCED = 'ftruncate, fsync';
const TENTH = { against: 'best', most: 0.1 };

export async function update(bench) {
  const { user, mailbox, name } = bench.mailboxes.find(({ main }) => main);
  const { messages, starts, octets } = mailbox();
  const kinds = [
    {
      what: 'first',
      dele: '1 1 1',
      kept: [starts[1], octets - starts[1]],
      targets: [{ against: 'limit', most: 3 }],
    },
    { what: 'every second', dele: `1 ${messages} 2`, kept: [0, Math.round(octets / 2)] },
    { what: 'last', dele: `${messages} ${messages} 1`, length: starts[messages - 1], targets: [TENTH] },
    { what: 'all', dele: `1 ${messages} 1`, length: 0, targets: [TENTH] },
  ].map(kind => ({
    ...kind,
    row: bench.table.row(`QUIT, ${kind.what} deleted, ${name}`, 'ms', {
      digits: 2,
      limit: kind.length === undefined ? COPY : CUT,
      targets: kind.targets,
    }),
  }));
  const servers = await bench.running.all(bench, kinds[0].row);
  for (let round = 0; round < Math.min(bench.rounds, 5); round++) {
    for (const kind of kinds) {
      await measureLimit(bench, kind, mailbox(), round);
      await inTurns(bench, kind.row, inRound(servers, round), 1, async server => {
        placeFor(bench, [server], mailbox(), user);
        await pause(SETTLED_MS);
        await openAndQuit(bench, server, user); // Nobody's index is new, and Dovecot has written its headers.
        await inSession(bench, server, user, async next => {
          await next(`dele ${kind.dele}`);
          kind.row.add(server.name, (await next('quit')).ms);
        });
      });
    }
  }
  for (const { row, length } of kinds) if (length !== undefined) explain(bench.table, row);
}

async function measureLimit({ site, tools }, { what, kept, length, row }, mailbox, round) {
  const directory = site.directory('copies');
  if (length === undefined) {
    row.addLimit(
      COPY,
      (await ask(tools.limits, 'copy', mailbox.path, ...kept, join(directory, `${what}-${round}`))).ms,
    );
    return;
  }
  const path = join(directory, 'cut');
  site.place(mailbox, path);
  const { ms, synced } = await ask(tools.limits, 'cut', path, length);
  row.addLimit(CUT, ms);
  row.addLimit(CUT_SYNCED, synced);
}

/** What the target comes to beside the system call that nobody can do without. */
function explain(table, { name, best, limitMedian }) {
  if (best === undefined || limitMedian === undefined) return;
  const most = (TENTH.most * best).toFixed(2);
  table.note(
    `${name}: ${TENTH.most} × best peer is ${most} ms; ftruncate(2) alone takes ${limitMedian.toFixed(2)} ms.`,
  );
}

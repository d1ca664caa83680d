/**
 * One of many processes that contend for stale dotlocks: DIR STALE-CONTENT ROUNDS. Whoever gets the
 * lock checks that nobody else is inside, then leaves a stale lock in place of its own. Uses the built
 * code, as a process of its own cannot run the sources on every supported Node.js.
 */
import {
  appendFileSync,
  closeSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadHost } from '../../dist/lib/host/load.js';
import { Dotlock } from '../../dist/lib/maildrop/dotlock.js';

const [dir, stale, target] = process.argv.slice(2);
const mailboxPath = join(dir, 'alice');
const ledger = join(dir, 'ledger');
const inside = join(dir, 'inside');
const { host } = await loadHost();
const mailboxFd = openSync(mailboxPath, 'r+');
let overlaps = 0;
let rounds = 0;

while (statSync(ledger).size < Number(target)) {
  const dotlock = new Dotlock({
    mailboxPath,
    mailboxFd,
    host,
    onLost: () => {
      overlaps++;
    },
  });
  if (!(await dotlock.tryLock())) {
    // Where stale locks are broken by name alone, half of the rounds overlap, with shorter pauses not more of them.
    await sleep(Math.random() * 20);
    continue;
  }
  try {
    closeSync(openSync(inside, 'wx'));
    await sleep(0);
    unlinkSync(inside);
  } catch (error) {
    if (error.code !== 'EEXIST' && error.code !== 'ENOENT') throw error;
    overlaps++;
  }
  rounds++;
  appendFileSync(ledger, 'x');
  // Replaces our lock by a stale one in one step; unlock() then finds that it is not ours any more.
  const temporary = `${mailboxPath}.stale.${process.pid}`;
  writeFileSync(temporary, stale);
  renameSync(temporary, `${mailboxPath}.lock`);
  await dotlock.unlock();
}
process.stdout.write(JSON.stringify({ overlaps, rounds }));

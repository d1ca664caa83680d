/**
 * This server beside the other mbox POP3 servers of Debian, and beside what the machine can do: prints one table.
 *
 * usage: npm run bench [-- [--smoke] [--only open,retr,...] [--rounds N]]   (after npm run build; wants cc)
 *
 * The peers take root, and bench/unpack-peers.sh (or what is installed); what is missing is left out, with a
 * message. MBOX_POP3D_BENCH_DIR: where scratch files go, some 6 GB, on the file system that is to be measured.
 */
import { execFileSync } from 'node:child_process';
import { cpus, release } from 'node:os';
import yargs from 'yargs';
import { compile } from './clients.mjs';
import { writeMail, writeTinyMail } from './mailboxes.mjs';
import { delay } from './measures/delay.mjs';
import { inetd } from './measures/inetd.mjs';
import { listing } from './measures/listing.mjs';
import { memory } from './measures/memory.mjs';
import { open } from './measures/open.mjs';
import { retr } from './measures/retr.mjs';
import { sessions } from './measures/sessions.mjs';
import { update } from './measures/update.mjs';
import { Running } from './running.mjs';
import { findPeers, killServers, peerVersions } from './servers.mjs';
import { Site } from './site.mjs';
import { Table } from './table.mjs';

const MEASURES = { open, retr, listing, update, sessions, inetd, delay, memory };

const { smoke, only, rounds } = yargs(process.argv.slice(2))
  .usage('npm run bench -- [--smoke] [--only MEASURE,...] [--rounds N]')
  .option('smoke', { type: 'boolean', default: false, describe: 'does it run: seconds, and no targets' })
  .option('only', { type: 'string', default: Object.keys(MEASURES).join(','), coerce: asMeasures })
  .option('rounds', { type: 'number', describe: 'of each measure, interleaved: 5, or 1 with --smoke' })
  .strict()
  .version(false)
  .parseSync();

function asMeasures(list) {
  const names = list.split(',');
  const unknown = names.filter(name => !Object.hasOwn(MEASURES, name));
  if (unknown.length > 0) throw new Error(`no such measure: ${unknown.join(', ')}`);
  return names;
}

const site = new Site();
const running = new Running();
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => {
    killServers();
    site.remove();
    process.exit(130);
  });
try {
  process.exitCode = await main();
} finally {
  await running.stop();
  site.remove();
}

/** @returns the exit status: 1 if something could not be measured */
async function main() {
  const { found, missing } = findPeers();
  const times = rounds ?? (smoke ? 1 : 5);
  const table = new Table({ withTargets: !smoke });
  const bench = {
    ...{ site, table, rounds: times, smoke, running },
    tools: compile(site.directory('tools')),
    mailboxes: mailboxes(times),
    /** Milliseconds of RETR or TOP of one mailbox, at most. */
    mostMs: smoke ? 300 : 1500,
    /** Of whole sessions, for one figure. */
    seconds: smoke ? 0.2 : 1.5,
    clients: smoke ? [1, 8] : [1, 8, 64],
  };
  for (const name of only) {
    const began = performance.now();
    await MEASURES[name](bench);
    console.error(`${name}: ${((performance.now() - began) / 1000).toFixed(0)} s`);
  }
  console.log(`${machine()}\n${site.masters().join('\n')}\n\n${table.print(found)}`);
  for (const name of missing) console.error(`SKIPPED: ${name}: it takes root and bench/unpack-peers.sh`);
  const lacking = missing.length > 0 && process.env.CI === 'true';
  return table.problems.length > 0 || lacking ? 1 : 0;
}

/** Each is written when it is needed first; `targets`: those of its size are held against it. */
function mailboxes(rounds) {
  const few = Math.min(rounds, 2);
  const mail = (name, count) => () => site.master(name, path => writeMail(path, count));
  const most = name => name === 'popa3d' || (name === 'Dovecot' && !smoke);
  const [big, huge, tiny] = smoke ? [110, 440, 1000] : [5529, 55_000, 100_000];
  return [
    ...(smoke ? [] : [{ name: '1 MB', user: 'one', mailbox: mail('one', 55), rounds }]),
    {
      name: smoke ? '2 MB' : '100 MB',
      user: 'big',
      mailbox: mail('big', big),
      rounds,
      main: true,
      targets: true,
    },
    {
      name: smoke ? '8 MB' : '1 GB',
      user: 'huge',
      mailbox: mail('huge', huge),
      rounds: few,
      peers: most,
      targets: true,
      largest: true,
    },
    {
      name: `${tiny} tiny messages`,
      user: 'tiny',
      mailbox: () => site.master('tiny', path => writeTinyMail(path, tiny)),
      rounds: few,
      peers: most,
    },
  ];
}

function machine() {
  const [{ model }] = cpus();
  const disk = execFileSync('stat', ['-f', '-c', '%T', site.root], { encoding: 'utf8' }).trim();
  const all = [`Node.js ${process.version}`, ...peerVersions(), `Linux ${release()}`];
  return `${all.join(', ')}, ${cpus().length} × ${model.trim()}, ${disk}.`;
}

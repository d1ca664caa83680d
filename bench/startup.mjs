/**
 * What a client waits for when a process is started for its connection: the time from starting it to its greeting,
 * and to the answer to its login, beside bare Node.js; the same for `deliver`, which a mail server starts for
 * each message. Then what is left of it where one process serves all: inetd `wait` and systemd's
 * `Accept=no`, beside the daemon.
 *
 * All variants take turns, so that a busy machine is busy for all of them. Compared are the medians of the time
 * that passed, and the least of the processor's time, which tells more on a busy machine.
 *
 * usage: node bench/startup.mjs [--smoke] [ROUNDS] [VERSION...]   (after npm run build; versions through npx)
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDoors } from './startup/doors.mjs';
import { toEnd, toGreeting, toLogin } from './startup/processes.mjs';
import { median } from './table.mjs';

const ROOT = new URL('..', import.meta.url).pathname;
const PROGRAM = join(ROOT, 'dist/bin/mbox-pop3d.js');
const KOFFI = JSON.stringify(join(ROOT, 'node_modules/koffi'));
const args = process.argv.slice(2);
const smoke = args.includes('--smoke');
const [rounds = smoke ? '2' : '25', ...versions] = args.filter(arg => arg !== '--smoke');
if (versions.length === 0 && !smoke) versions.push('20', '22', '24', '26');

const scratch = mkdtempSync(join(tmpdir(), 'mbox-pop3d-bench-'));
const [spool, users, state] = ['spool', 'users', 'state'].map(name => join(scratch, name));
const places = [`--spool=${spool}`, `--users=${users}`];
try {
  await main();
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

async function main() {
  execFileSync('chmod', ['0711', scratch]);
  mkdirSync(spool);
  execFileSync('chmod', ['1777', spool]);
  writeFileSync(users, 'bench:{PLAIN}secret:65534:65534\n', { mode: 0o600 });
  const nodes = versions.length === 0 ? [process.execPath] : versions.map(findNode);
  console.log('| Node.js | to the | median ms | least ms | : bare | least CPU ms | : bare |');
  console.log('|---|---|---:|---:|---:|---:|---:|');
  for (const node of nodes) await onNode(node);
  console.log('\n| Node.js | one process for all | first greeting ms | later ones, median ms | : daemon |');
  console.log('|---|---|---:|---:|---:|');
  for (const node of nodes) await forAll(node);
}

async function onNode(node) {
  const version = versionOf(node);
  const variants = variantsFor(version);
  for (const { run } of variants) await run(node); // Fills the caches: of files, and of compiled code.
  const samples = variants.map(() => []);
  for (let round = 0; round < Number(rounds); round++) {
    for (const [i, { run }] of variants.entries()) samples[i].push(await run(node));
  }
  // Of the processor's time the least: it is read when the greeting is seen, on a busy machine too late.
  const figures = samples.map(all => ({
    ms: median(all.map(sample => sample.ms)),
    least: Math.min(...all.map(sample => sample.ms)),
    cpu: Math.min(...all.map(sample => sample.cpu)),
  }));
  for (const [i, { name }] of variants.entries()) {
    const { ms, least, cpu } = figures[i];
    const beside = [(ms / figures[0].ms).toFixed(2), (cpu / figures[0].cpu).toFixed(2)];
    const cells = [ms.toFixed(1), least.toFixed(1), beside[0], cpu.toFixed(1), beside[1]];
    console.log(`| ${[version, name, ...cells].join(' | ')} |`);
  }
}

/** The first is what the others are compared with. */
function variantsFor(version) {
  const perConnection = [PROGRAM, ...places, `--state-dir=${state}`];
  const deliver = [PROGRAM, 'deliver', 'bench', ...places, `--state-dir=${join(scratch, 'of-deliver')}`];
  // NODE_COMPILE_CACHE came with 22.1. The server does not ask for it: it would answer logins 8 % sooner, but a process
  // that is root until the login would run what lies in a directory that is written to at run time, where
  // Node.js looks at nothing but a CRC-32; and on a full disk each process would leave twenty files there.
  const caches = Number(version.slice(1).split('.')[0]) >= 22;
  const cache = { NODE_COMPILE_CACHE: join(scratch, version) };
  return [
    { name: 'end of `node -e 0`', run: node => toEnd(node, ['-e', '0']) },
    { name: "end of `require('net')`", run: node => toEnd(node, ['-e', "require('net')"]) },
    { name: "end of `require('koffi')`", run: node => toEnd(node, ['-e', `require(${KOFFI})`]) },
    { name: 'greeting', run: node => toGreeting(node, perConnection) },
    caches && { name: 'greeting, compile cache', run: node => toGreeting(node, perConnection, cache) },
    { name: 'answer to the login', run: node => toLogin(node, perConnection) },
    { name: 'end of `deliver`', run: node => toEnd(node, deliver, 'Subject: hello\n\nWorld.\n') },
  ].filter(variant => typeof variant === 'object');
}

async function forAll(node) {
  const version = versionOf(node);
  const user = process.geteuid() === 0 ? ['--user=nobody', '--group=nogroup'] : [];
  const doors = await openDoors(node, PROGRAM, [...places, ...user], scratch);
  try {
    const later = doors.map(() => []);
    for (let n = 0; n < Number(rounds) * 8; n++) {
      for (const [i, door] of doors.entries()) later[i].push(await door.greeting());
    }
    for (const [i, { name, first }] of doors.entries()) {
      const ms = median(later[i]);
      const cells = [first.toFixed(1), ms.toFixed(2), (ms / median(later[0])).toFixed(2)];
      console.log(`| ${[version, name, ...cells].join(' | ')} |`);
    }
  } finally {
    for (const door of doors) await door.close();
  }
}

function versionOf(node) {
  return execFileSync(node, ['-v'], { encoding: 'utf8' }).trim();
}

function findNode(version) {
  const find = ['-y', '-p', `node@${version}`, '-c', 'command -v node'];
  return execFileSync('npx', find, { encoding: 'utf8', cwd: scratch }).trim();
}

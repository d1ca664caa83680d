/**
 * Logins per second of one server, with and without its cache of verified logins, for hashes of each kind:
 * whole sessions (connect, USER, PASS, QUIT) of as many users at once, on empty mailboxes. The two servers
 * take turns, so that a busy machine is busy for both.
 *
 * usage: node bench/logins.mjs [--smoke] [SECONDS]   (after npm run build)
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { linuxHost } from '../dist/lib/host/linux.js';

const PROGRAM = new URL('../dist/bin/mbox-pop3d.js', import.meta.url).pathname;
const NOBODY = 65534;
const CLIENTS = 8;
const ROUNDS = 3;
const PASSWORD = 'correct horse';
const KINDS = [
  ['yescrypt $y$j9T', '$y$j9T$abcdefghijklmnop$'],
  ['sha512crypt $6$', '$6$abcdefghijklmnop$'],
  ['bcrypt $2b$10', '$2b$10$abcdefghijklmnopqrstuu'],
  ['DES', 'ab'],
  [
    '{SCRAM-SHA-256} 4096',
    '{SCRAM-SHA-256}4096,g7Ro+BOQT4Ocl6MUV172sA==,8YDNBSRrMzU3LryCcNXiAjSRsLLwPUDT/9uzn6yvUG0=,zrnXWFAJ9ZSL7w3CFl+RkqErwRwGSDsI0p9vt6E2UXM=',
  ],
  ['{PLAIN}', `{PLAIN}${PASSWORD}`],
];

const args = process.argv.slice(2);
const smoke = args.includes('--smoke');
const seconds = Number(args.find(arg => arg !== '--smoke') ?? (smoke ? '0.1' : '3'));
const root = mkdtempSync(join(tmpdir(), 'mbox-pop3d-bench-'));
const servers = [];
try {
  await main();
} finally {
  for (const { child } of servers) child.kill('SIGKILL');
  rmSync(root, { recursive: true, force: true });
}

async function main() {
  const isRoot = process.geteuid() === 0;
  const uid = isRoot ? NOBODY : process.geteuid();
  const lines = [];
  for (const [kind, [, stored]] of KINDS.entries()) {
    const hash = stored.startsWith('{') ? stored : await linuxHost.crypt(Buffer.from(PASSWORD), stored);
    for (let n = 0; n < CLIENTS; n++) lines.push(`user${kind}-${n}:${hash}:${uid}:${uid}\n`);
  }
  const users = join(root, 'users');
  writeFileSync(users, lines.join(''));
  mkdirSync(join(root, 'spool'));
  for (const path of isRoot ? [root, users, join(root, 'spool')] : []) chownSync(path, uid, uid);
  for (const cache of ['0', '900']) servers.push(await startServer(cache, users, isRoot));

  console.log('| hash | logins/s without cache | with | ratio |\n|---|---:|---:|---:|');
  for (const [kind, [name]] of KINDS.entries()) {
    const logins = [0, 0];
    for (const { port } of servers) await session(port, `user${kind}-0`);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, { port }] of servers.entries()) logins[i] += await countLogins(port, kind);
    }
    const [without, cached] = logins.map(count => count / (ROUNDS * seconds));
    console.log(
      `| ${name} | ${without.toFixed(0)} | ${cached.toFixed(0)} | ${(cached / without).toFixed(1)} |`,
    );
  }
}

async function startServer(cache, users, isRoot) {
  const state = join(root, `state-${cache}`);
  const identity = isRoot ? ['--user', 'nobody', '--group', 'nogroup'] : [];
  const flags = ['--listen', '127.0.0.1:0', '--spool', join(root, 'spool'), '--users', users];
  const limits = ['--auth-cache', cache, '--state-dir', state, '--log-level', 'error'];
  const child = spawn(process.execPath, [PROGRAM, 'serve', ...flags, ...limits, ...identity], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(createInterface(child.stdout), 'line');
  return { child, port: Number(/:([0-9]+)$/.exec(line)[1]) };
}

/** Sessions that all clients together finish in the time. */
async function countLogins(port, kind) {
  const end = performance.now() + seconds * 1000;
  const counts = await Promise.all(
    Array.from({ length: CLIENTS }, async (_, n) => {
      let count = 0;
      do {
        await session(port, `user${kind}-${n}`);
        count++;
      } while (performance.now() < end);
      return count;
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Rejects unless it is let in. */
async function session(port, user) {
  const socket = connect(port, '127.0.0.1').setNoDelay();
  const lines = createInterface(socket)[Symbol.asyncIterator]();
  for (const command of [undefined, `USER ${user}`, `PASS ${PASSWORD}`, 'QUIT']) {
    if (command !== undefined) socket.write(`${command}\r\n`);
    const { value } = await lines.next();
    if (!value?.startsWith('+OK')) throw new Error(`${user}, ${command}: ${value}`);
  }
  socket.destroy();
}

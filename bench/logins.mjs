/**
 * Logins per second of one server, with and without its cache of verified logins, for hashes of each kind:
 * whole sessions (connect, USER, PASS, QUIT) of as many users at once, on empty mailboxes. The two servers
 * take turns, so that a busy machine is busy for both.
 *
 * usage: node bench/logins.mjs [--smoke] [SECONDS]   (after npm run build)
 */
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { linuxHost } from '../dist/lib/host/linux.js';
import { amount, withLoginServers } from './login-server.mjs';

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

const seconds = amount(3, 0.1);
await withLoginServers(users, async start => {
  const ports = [];
  for (const cache of ['0', '900']) ports.push(await start(['--auth-cache', cache]));
  await measure(ports);
});

async function users(uid) {
  const lines = [];
  for (const [kind, [, stored]] of KINDS.entries()) {
    const hash = stored.startsWith('{') ? stored : await linuxHost.crypt(Buffer.from(PASSWORD), stored);
    for (let n = 0; n < CLIENTS; n++) lines.push(`user${kind}-${n}:${hash}:${uid}:${uid}\n`);
  }
  return lines;
}

async function measure(ports) {
  console.log('| hash | logins/s without cache | with | ratio |\n|---|---:|---:|---:|');
  for (const [kind, [name]] of KINDS.entries()) {
    const logins = [0, 0];
    for (const port of ports) await session(port, `user${kind}-0`);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, port] of ports.entries()) logins[i] += await countLogins(port, kind);
    }
    const [without, cached] = logins.map(count => count / (ROUNDS * seconds));
    console.log(
      `| ${name} | ${without.toFixed(0)} | ${cached.toFixed(0)} | ${(cached / without).toFixed(1)} |`,
    );
  }
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

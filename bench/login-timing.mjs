/**
 * What a refused login tells by its text and its time: interleaved tries for an unknown user, a wrong
 * password, a locked user, one without POP3 and one denied, at the real failure delay. The texts must be the
 * same and the times indistinguishable; an area under the curve near 0.5 says that a time picked from one
 * kind is as likely the longer as one of another kind (0.45 to 0.55 is noise at this number of tries).
 *
 * usage: node bench/login-timing.mjs [--smoke] [TRIES]   (after npm run build)
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
const PASSWORD = 'correct horse';
/** At a time; fewer than make the hashing queue longer than the delay. */
const CLIENTS = 10;

const args = process.argv.slice(2);
const smoke = args.includes('--smoke');
const tries = Number(args.find(arg => arg !== '--smoke') ?? (smoke ? '50' : '2000'));
const root = mkdtempSync(join(tmpdir(), 'mbox-pop3d-bench-'));
let child;
try {
  await main();
} finally {
  child?.kill('SIGKILL');
  rmSync(root, { recursive: true, force: true });
}

async function main() {
  const isRoot = process.geteuid() === 0;
  const uid = isRoot ? NOBODY : process.geteuid();
  const hash = await linuxHost.crypt(Buffer.from(PASSWORD), '$y$j9T$abcdefghijklmnop$');
  const line = (user, field, extra = '') => `${user}:${field}:${uid}:${uid}::::${extra}\n`;
  const users = join(root, 'users');
  const others = Array.from({ length: 20 }, (_, i) => line(`user${i}`, hash));
  const named = [
    line('known', hash),
    line('locked', `!${hash}`),
    line('nopop', hash, 'pop3=no'),
    line('denied', hash),
  ];
  writeFileSync(users, [...others, ...named].join(''));
  mkdirSync(join(root, 'spool'));
  for (const path of isRoot ? [root, users, join(root, 'spool')] : []) chownSync(path, uid, uid);
  const port = await start(users, isRoot);

  // Right passwords where the account is what stands in the way.
  const kinds = [
    ['unknown user', 'nobody-there', 'wrong'],
    ['wrong password', 'known', 'wrong'],
    ['locked', 'locked', PASSWORD],
    ['pop3=no', 'nopop', PASSWORD],
    ['deny-users', 'denied', PASSWORD],
  ].map(([kind, user, password]) => ({ kind, user, password, times: [], replies: new Set() }));
  let next = 0;
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      while (next < tries) {
        const kind = kinds[next++ % kinds.length];
        const { time, reply } = await tryOnce(port, kind.user, kind.password);
        kind.times.push(time);
        kind.replies.add(reply);
      }
    }),
  );
  report(kinds);
}

function report(kinds) {
  const [, wrong] = kinds;
  console.log('| refused because | tries | median ms | 5 % | 95 % | area against "wrong password" |');
  console.log('|---|---:|---:|---:|---:|---:|');
  for (const { kind, times } of kinds) {
    times.sort((a, b) => a - b);
    const at = share => times[Math.floor(share * (times.length - 1))].toFixed(1);
    console.log(
      `| ${kind} | ${times.length} | ${at(0.5)} | ${at(0.05)} | ${at(0.95)} | ${area(times, wrong.times).toFixed(3)} |`,
    );
  }
  const replies = new Set(kinds.flatMap(kind => [...kind.replies]));
  console.log(`\nreplies: ${[...replies].join(' / ')}`);
  if (replies.size !== 1) process.exitCode = 1;
}

/** The chance that a time of `a` is longer than one of `b`. */
function area(a, b) {
  let wins = 0;
  for (const x of a) for (const y of b) wins += x > y ? 1 : x === y ? 0.5 : 0;
  return wins / (a.length * b.length);
}

async function tryOnce(port, user, password) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  await lines.next();
  socket.write(`USER ${user}\r\n`);
  await lines.next();
  const began = performance.now();
  socket.write(`PASS ${password}\r\n`);
  const { value: reply } = await lines.next();
  const time = performance.now() - began;
  socket.end('QUIT\r\n');
  return { time, reply };
}

async function start(users, isRoot) {
  const flags = [
    '--users',
    users,
    '--spool',
    join(root, 'spool'),
    '--state-dir',
    join(root, 'state'),
    '--log-level',
    'error',
  ];
  const ids = isRoot ? ['--user', 'nobody', '--group', 'nogroup'] : [];
  // Their waits for a guesser are the same for all, and would be all there is to see.
  const limits = ['--max-failure-delay', '0', '--deny-users', 'denied', '--listen', '127.0.0.1:0'];
  child = spawn(process.execPath, [PROGRAM, 'serve', ...flags, ...ids, ...limits], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [ready] = await once(createInterface({ input: child.stdout }), 'line');
  return Number(/:(\d+)$/.exec(ready)[1]);
}

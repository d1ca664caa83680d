/**
 * What a guesser costs everybody else (failure-checks C58): the time of whole logins of one good client from
 * its own address, alone and beside guessers at one other address, who offer a thousand wrong
 * passwords a second: fifty connections, the default limit of one address, each with ten guesses sent at once and
 * opened again twice a second. The two take turns.
 *
 * usage: node bench/guessing.mjs [--smoke] [SECONDS]   (after npm run build)
 */
import { spawn } from 'node:child_process';
import { once, setMaxListeners } from 'node:events';
import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { linuxHost } from '../dist/lib/host/linux.js';

const PROGRAM = new URL('../dist/bin/mbox-pop3d.js', import.meta.url).pathname;
const NOBODY = 65534;
const PASSWORD = 'correct horse';
const GUESSERS = 50;
/** Milliseconds from one connection of a guesser to its next, at least. */
const PACE = 500;

const args = process.argv.slice(2);
const smoke = args.includes('--smoke');
const seconds = Number(args.find(arg => arg !== '--smoke') ?? (smoke ? '1' : '20'));
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
  const hash = await linuxHost.crypt(Buffer.from(PASSWORD), '$6$abcdefghijklmnop$');
  const users = join(root, 'users');
  writeFileSync(users, ['good', 'victim'].map(user => `${user}:${hash}:${uid}:${uid}\n`).join(''));
  mkdirSync(join(root, 'spool'));
  for (const path of isRoot ? [root, users, join(root, 'spool')] : []) chownSync(path, uid, uid);
  const port = await start(users, isRoot);
  const times = { alone: [], beside: [] };
  const guesses = { count: 0, connections: 0 };
  await logInFor(port, seconds / 4, []); // Warm.
  for (let round = 0; round < 4; round++) {
    await logInFor(port, seconds / 4, times.alone);
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    const guessers = Array.from({ length: GUESSERS }, (_, i) => guess(port, i, guesses, stop.signal));
    await logInFor(port, seconds / 4, times.beside);
    stop.abort();
    await Promise.all(guessers);
  }
  console.log('| the good client | logins | p50 ms | p99 ms |\n|---|---:|---:|---:|');
  const [alone, beside] = ['alone', 'beside'].map(kind => report(kind, times[kind]));
  console.log(
    `\np50 ratio ${(beside.p50 / alone.p50).toFixed(2)}, p99 ratio ${(beside.p99 / alone.p99).toFixed(2)}`,
  );
  console.log(
    `the guessers: ${guesses.connections} connections, ${guesses.count} passwords checked in ${seconds} s`,
  );
}

function report(kind, times) {
  times.sort((a, b) => a - b);
  const at = share => times[Math.floor(share * (times.length - 1))];
  console.log(`| ${kind} | ${times.length} | ${at(0.5).toFixed(1)} | ${at(0.99).toFixed(1)} |`);
  return { p50: at(0.5), p99: at(0.99) };
}

async function logInFor(port, time, times) {
  const end = performance.now() + time * 1000;
  while (performance.now() < end) {
    const began = performance.now();
    const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.1', noDelay: true });
    socket.write(`USER good\r\nPASS ${PASSWORD}\r\nQUIT\r\n`);
    let said = '';
    for await (const chunk of socket) said += chunk;
    if ((said.match(/^\+OK/gm) ?? []).length !== 4) throw new Error(`not served: ${said}`);
    times.push(performance.now() - began);
  }
}

async function guess(port, i, guesses, signal) {
  while (!signal.aborted) {
    const next = pause(PACE);
    const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.9', noDelay: true });
    socket.on('error', () => socket.destroy());
    const stop = () => socket.destroy();
    signal.addEventListener('abort', stop, { once: true });
    guesses.connections++;
    socket.on('data', chunk => {
      guesses.count += String(chunk).split('-ERR [AUTH]').length - 1;
    });
    socket.write(`USER victim\r\nPASS wrong${i}\r\nUSER nobody${i}\r\nPASS wrong\r\n`.repeat(5));
    await once(socket, 'close');
    signal.removeEventListener('abort', stop);
    await next;
  }
}

async function start(users, isRoot) {
  const flags = ['--users', users, '--spool', join(root, 'spool'), '--state-dir', join(root, 'state')];
  const ids = isRoot ? ['--user', 'nobody', '--group', 'nogroup'] : [];
  const more = ['--auth-cache', '0', '--log-level', 'error', '--listen', '127.0.0.1:0'];
  child = spawn(process.execPath, [PROGRAM, 'serve', ...flags, ...ids, ...more], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [ready] = await once(createInterface({ input: child.stdout }), 'line');
  return Number(/:(\d+)$/.exec(ready)[1]);
}

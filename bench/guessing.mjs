/**
 * What a guesser costs everybody else (failure-checks C58): the time of whole logins of one good client from
 * its own address, alone and beside guessers at one other address, who offer a thousand wrong
 * passwords a second: fifty connections, the default limit of one address, each with ten guesses sent at once and
 * opened again twice a second. The two take turns.
 *
 * usage: node bench/guessing.mjs [--smoke] [SECONDS]   (after npm run build)
 */
import { once, setMaxListeners } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { linuxHost } from '../dist/lib/host/linux.js';
import { amount, withLoginServers } from './login-server.mjs';

const PASSWORD = 'correct horse';
const GUESSERS = 50;
/** Milliseconds from one connection of a guesser to its next, at least. */
const PACE = 500;

const seconds = amount(20, 1);
await withLoginServers(users, async start => measure(await start(['--auth-cache', '0'])));

async function users(uid) {
  const hash = await linuxHost.crypt(Buffer.from(PASSWORD), '$6$abcdefghijklmnop$');
  return ['good', 'victim'].map(user => `${user}:${hash}:${uid}:${uid}\n`);
}

async function measure(port) {
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

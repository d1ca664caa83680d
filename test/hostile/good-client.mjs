/**
 * The client that must be served while others attack: logs in, reads a message, quits, again and again until
 * its standard input ends. A process of its own, so that what it measures is the server and not the
 * attackers. Prints one line of JSON for each line of its input, with what happened since the last:
 * {"sessions", "p50", "p99", "most", "failures"}; whole sessions, in ms.
 *
 * usage: good-client.mjs plain|tls PORT USER PASSWORD [LINES]   (of message 1, status line and end included)
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { connect as connectTls } from 'node:tls';

const PAUSE = 10;

const [how, port, user, password, lines] = process.argv.slice(2);
let latencies = [];
let failures = [];
let going = true;

const input = createInterface(process.stdin);
input.on('line', () => {
  process.stdout.write(`${JSON.stringify(report())}\n`);
  latencies = [];
  failures = [];
});
input.on('close', () => {
  going = false;
});
while (going) {
  const before = performance.now();
  try {
    await session();
    latencies.push(performance.now() - before);
  } catch (error) {
    failures.push(String(error));
  }
  await new Promise(resolve => setTimeout(resolve, PAUSE));
}

async function session() {
  const target = { host: '127.0.0.1', port: Number(port) };
  const socket = how === 'tls' ? connectTls({ ...target, rejectUnauthorized: false }) : connect(target);
  try {
    socket.setNoDelay(true);
    await once(socket, how === 'tls' ? 'secureConnect' : 'connect');
    const reader = createInterface(socket)[Symbol.asyncIterator]();
    for (const command of [undefined, `USER ${user}`, `PASS ${password}`, 'RETR 1', 'QUIT']) {
      if (command !== undefined) socket.write(`${command}\r\n`);
      const { value = 'closed' } = await reader.next();
      if (!value.startsWith('+OK')) throw new Error(`${command?.split(' ')[0]}: ${value}`);
      if (command !== 'RETR 1') continue;
      let seen = 1;
      for (let line = ''; line !== '.'; seen++) line = (await reader.next()).value ?? '.';
      if (lines !== undefined && seen !== Number(lines)) throw new Error(`RETR: ${seen} lines`);
    }
    // The maildrop is free once the server has closed.
    while (!(await reader.next()).done);
  } finally {
    socket.destroy();
  }
}

function report() {
  const sorted = latencies.sort((a, b) => a - b);
  const at = share => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { sessions: sorted.length, p50: at(0.5), p99: at(0.99), most: at(1), failures };
}

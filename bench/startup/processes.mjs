/**
 * Processes that are started for one thing, and how long it takes them: milliseconds that passed, and milliseconds
 * of the processor in all of their threads (getrusage(2) of children once they have ended, schedstat before).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import koffi from 'koffi';

const RUSAGE_CHILDREN = -1;
const getrusage = koffi.load(null).func('getrusage', 'int', ['int', 'void *']);

/** Runs to the end. One at a time, and nothing else meanwhile. */
export async function toEnd(node, argv, input) {
  const [began, before] = [performance.now(), ofChildren()];
  const child = spawn(node, argv, {
    stdio: [input === undefined ? 'ignore' : 'pipe', 'ignore', 'inherit'],
    env: {},
  });
  child.stdin?.end(input);
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${node} ${argv.join(' ')}: exit ${code}`);
  return { ms: performance.now() - began, cpu: ofChildren() - before };
}

/** Runs for a connection that is there already, as inetd does, until it greets. */
export function toGreeting(node, argv, env) {
  return connection(node, argv, env, async () => {});
}

/** The same until it has answered to a login. */
export function toLogin(node, argv) {
  return connection(node, argv, {}, async ask => {
    await ask('USER bench\r\n');
    await ask('PASS secret\r\n');
  });
}

async function connection(node, argv, env, converse) {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect(server.address().port, '127.0.0.1');
  const [socket] = await once(server, 'connection');
  const began = performance.now();
  const child = spawn(node, argv, { stdio: [socket, socket, socket], env });
  const exited = once(child, 'exit');
  socket.destroy();
  const ask = async line => {
    const answer = once(client, 'data');
    client.write(line);
    const [text] = await answer;
    if (!String(text).startsWith('+OK ')) throw new Error(`answered by ${text}`);
  };
  await ask('');
  await converse(ask);
  const took = { ms: performance.now() - began, cpu: ofThreads(child.pid) };
  client.resume().end('QUIT\r\n');
  await exited;
  server.close();
  return took;
}

/** User and system time of all children that have ended. */
function ofChildren() {
  const usage = Buffer.alloc(144);
  if (getrusage(RUSAGE_CHILDREN, usage) !== 0) throw new Error('getrusage failed');
  const seconds = usage.readBigInt64LE(0) + usage.readBigInt64LE(16);
  return Number(seconds) * 1000 + Number(usage.readBigInt64LE(8) + usage.readBigInt64LE(24)) / 1000;
}

/** The same of the threads that a process has now. */
function ofThreads(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  const ran = thread =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ', 1)[0]);
  return threads.reduce((sum, thread) => sum + ran(thread), 0) / 1e6;
}

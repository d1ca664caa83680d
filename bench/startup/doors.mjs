/**
 * One process for all who connect, behind each of the front doors that have one: the daemon, inetd's `wait` and
 * systemd's `Accept=no`, the latter two started by the first connection.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';

/**
 * @returns doors by name, the daemon first: `first` is what the first client waited for its greeting, milliseconds,
 *   `greeting` connects and tells it of one more, `close` ends the process
 */
export async function openDoors(node, program, flags, scratch) {
  const argv = name => [program, ...flags, '--log-level=error', `--state-dir=${join(scratch, name)}`];
  return [
    await daemon(node, [program, 'serve', '--listen=127.0.0.1:0', ...argv('daemon').slice(1)]),
    await activated('inetd `wait`', socket => start(node, argv('wait'), [socket, socket, socket])),
    await activated('systemd `Accept=no`', socket => {
      const shell = ['-c', 'LISTEN_PID=$$ exec "$@"', 'sh', node, ...argv('activated')];
      return start('sh', shell, ['ignore', 'ignore', 'inherit', socket], { LISTEN_FDS: '1' });
    }),
  ];
}

function start(file, argv, stdio, env = {}) {
  return spawn(file, argv, { stdio, env: { PATH: process.env.PATH, ...env } });
}

async function daemon(node, argv) {
  const child = start(node, argv, ['ignore', 'pipe', 'inherit']);
  const [ready] = await once(child.stdout, 'data');
  const port = Number(/:(\d+)/.exec(ready)[1]);
  return {
    name: 'daemon',
    first: await greeting(port),
    greeting: () => greeting(port),
    close: () => end(child),
  };
}

/** The process is started and the first client connects, as if that were why. */
async function activated(name, startWith) {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  const began = performance.now();
  const child = startWith(server._handle.fd);
  server.close(); // It has the socket, and we must not accept from it.
  await greeting(port);
  return { name, first: performance.now() - began, greeting: () => greeting(port), close: () => end(child) };
}

/** Milliseconds from connecting to the greeting. */
async function greeting(port) {
  const began = performance.now();
  const client = connect(port, '127.0.0.1');
  const [text] = await once(client, 'data');
  const ms = performance.now() - began;
  if (!String(text).startsWith('+OK ')) throw new Error(`greeted by ${text}`);
  client.resume().end('QUIT\r\n');
  await once(client, 'close');
  return ms;
}

async function end(child) {
  child.kill();
  await once(child, 'exit');
}

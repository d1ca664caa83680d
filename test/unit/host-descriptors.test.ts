// What inherited descriptors are, told from real ones of every kind; and a connection handed over as inetd does.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { linuxHost } from '../../lib/host/linux.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { hostProgram } from '../support/host-child.js';
import { runPython } from '../support/run-python.js';

const hasIPv6 = Object.values(networkInterfaces()).some(list => list?.some(item => item.address === '::1'));
if (!hasIPv6) console.warn('host-descriptors.test.ts: IPv6 is not tested: there is no ::1');

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'host-descriptors-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Node does not tell the number of a socket's descriptor. */
function descriptorOf(socket: unknown): number {
  return (socket as { _handle: { fd: number } })._handle.fd;
}

async function listening(where: { host: string } | { path: string }): Promise<Server> {
  const server = createServer();
  server.listen('path' in where ? where : { port: 0, ...where });
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  return server;
}

/** Both ends of a connection to `server`. */
async function connection(server: Server): Promise<{ client: Socket; accepted: Socket }> {
  const address = server.address();
  const client = typeof address === 'string' ? connect(address) : connect(address!.port, address!.address);
  const [accepted] = (await once(server, 'connection')) as [Socket];
  onTestFinished(() => {
    client.destroy();
    accepted.destroy();
  });
  return { client, accepted };
}

describe('acknowledged', () => {
  test('grows when the other end takes octets, and not when it only says that it is there', async () => {
    const { client, accepted } = await connection(await listening({ host: '127.0.0.1' }));
    const fd = descriptorOf(accepted);
    const octets = () => linuxHost.acknowledged(fd)!.octets;
    const before = octets();
    client.once('data', () => client.pause());
    accepted.write('octets');
    while (octets() < before + 6) await new Promise(resolve => setImmediate(resolve));
    // More than any buffers between us hold: what nobody reads is not acknowledged, whoever took it from us.
    accepted.write(Buffer.alloc(32 * 1024 * 1024));
    for (let seen = -1; seen !== octets(); await new Promise(resolve => setTimeout(resolve, 50)))
      seen = octets();
    const full = octets();
    expect(full).toBeLessThan(16 * 1024 * 1024);
    client.resume();
    while (octets() === full) await new Promise(resolve => setImmediate(resolve));
    expect(linuxHost.acknowledged(fd)!.ago).toBeGreaterThanOrEqual(0);
  });

  test('is not told of a Unix socket, a file, or what is closed', async () => {
    const { accepted } = await connection(await listening({ path: join(dir, 'socket') }));
    expect(linuxHost.acknowledged(descriptorOf(accepted))).toBe(undefined);
    const fd = openSync(join(dir, 'file'), 'w');
    expect(linuxHost.acknowledged(fd)).toBe(undefined);
    closeSync(fd);
    expect(linuxHost.acknowledged(fd)).toBe(undefined);
    expect(createPortableHost().acknowledged(0)).toBe(undefined);
  });
});

describe('socketKind', () => {
  test.skipIf(!hasIPv6)('TCP over IPv6', () => tellsListeningFromConnected('::1'));
  test('TCP', () => tellsListeningFromConnected('127.0.0.1'));

  async function tellsListeningFromConnected(host: string): Promise<void> {
    const server = await listening({ host });
    expect(linuxHost.socketKind(descriptorOf(server))).toBe('listening');
    const { client, accepted } = await connection(server);
    expect(linuxHost.socketKind(descriptorOf(accepted))).toBe('connected');
    expect(linuxHost.socketKind(descriptorOf(client))).toBe('connected');
  }

  test('TCP whose peer is gone already', async () => {
    const { client, accepted } = await connection(await listening({ host: '127.0.0.1' }));
    const closed = once(client, 'close');
    client.resetAndDestroy();
    await closed;
    expect(linuxHost.socketKind(descriptorOf(accepted))).toBe('connected');
  });

  test('a Unix socket', async () => {
    const server = await listening({ path: join(dir, 'socket') });
    expect(linuxHost.socketKind(descriptorOf(server))).toBe('listening');
    const { client, accepted } = await connection(server);
    expect(linuxHost.socketKind(descriptorOf(accepted))).toBe('unix');
    expect(linuxHost.socketKind(descriptorOf(client))).toBe('unix');
  });

  test.each(['AF_INET', 'AF_UNIX'])('datagrams, %s', async family => {
    const program = `
import socket, subprocess, sys
subprocess.run(sys.argv[1:], stdin=socket.socket(socket.${family}, socket.SOCK_DGRAM), check=True)`;
    const node = [process.execPath, ...hostProgram('print(host.socketKind(0))')];
    expect((await runPython(program, ...node)).stdout).toBe('"none"\n');
  });

  test.each([
    ['native', linuxHost],
    ['portable', createPortableHost()],
  ] as const)('what is no socket, %s host', async (_, host) => {
    await runPython('import os, sys; os.mkfifo(sys.argv[1])', join(dir, 'fifo'));
    writeFileSync(join(dir, 'file'), '');
    for (const [path, flags] of [
      ['/dev/null', 'r+'],
      [join(dir, 'file'), 'r+'],
      [join(dir, 'fifo'), 'r+'],
      [dir, 'r'],
    ] as const) {
      const fd = openSync(path, flags);
      expect(host.socketKind(fd), path).toBe('none');
      closeSync(fd);
      expect(host.socketKind(fd), 'closed').toBe('none');
    }
  });

  test('without the FFI a socket cannot be told from another', async () => {
    const server = await listening({ host: '127.0.0.1' });
    expect(() => createPortableHost().socketKind(descriptorOf(server))).toThrow(/needs the native host/);
  });

  test('standard input that a Node.js parent made is a Unix socket', async () => {
    const child = spawn(process.execPath, hostProgram('print(host.socketKind(0))'), {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const [output] = (await once(child.stdout, 'data')) as [Buffer];
    expect(output.toString()).toBe('"unix"\n');
  });
});

/** As openbsd-inetd does for nowait: the accepted socket as descriptors 0, 1 and 2. Prints what the client got. */
const INETD = `
import os, socket, sys
listener = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(listener.getsockname())
accepted, _ = listener.accept()
if os.fork() == 0:
    for fd in 0, 1, 2:
        os.dup2(accepted.fileno(), fd)
    os.closerange(3, 64)
    os.execv(sys.argv[1], sys.argv[1:])
accepted.close()
got = b''
while data := client.recv(65536):
    got += data
sys.stdout.buffer.write(got)
os.wait()`;

test('a connection from inetd: nothing but what is written to it reaches the client, and then the end', async () => {
  const body = `
    for (const fd of [1, 2]) {
      fs.closeSync(fd);
      if (fs.openSync('/dev/null', 'r+') !== fd) throw new Error('not the lowest');
    }
    console.log('noise'); console.error('noise'); process.emitWarning('noise');
    fs.writeSync(0, host.socketKind(0));
    process.on('exit', () => fs.writeSync(2, 'noise'));
    setImmediate(() => { throw new Error('noise'); });`;
  const { stdout } = await runPython(INETD, process.execPath, ...hostProgram(body));
  expect(stdout).toBe('connected');
});

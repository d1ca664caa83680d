/**
 * Started without a command: what counts as a socket to serve, what is said when there is none, and that a
 * client hears nothing but POP3, whatever is wrong with the set-up.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { scratchDir } from '../support/mailbox.js';
import { Nowait } from '../support/nowait.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT, Running } from '../support/program.js';

const PROGRAM = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;
const NODE = [process.execPath, PROGRAM];

/** Flags over a spool of the test's own, where nobody has mail. */
function places(): { root: string; state: string; flags: string[] } {
  const root = scratchDir();
  chmodSync(root, 0o755);
  const [spool, state, users] = [join(root, 'spool'), join(root, 'state'), join(root, 'users')];
  mkdirSync(spool);
  writeFileSync(users, '');
  return { root, state, flags: [`--spool=${spool}`, `--users=${users}`, `--state-dir=${state}`] };
}

/** Runs a shell command line that ends in `exec "$@"`, with these descriptors. */
async function shell(line: string, args: readonly string[], more: readonly number[], env = {}) {
  const child: ChildProcess = spawn('sh', ['-c', line, 'sh', ...NODE, ...args], {
    stdio: ['pipe', 'pipe', 'pipe', ...more],
    env: { PATH: process.env.PATH, ...env },
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  child.stdin!.on('error', () => {}).end();
  const running = new Running(child);
  const code = await running.exited;
  return { code, stdout: running.stdout(), stderr: running.stderr() };
}

const nothing = (why: string) => ({
  code: 64,
  stdout: '',
  stderr: `mbox-pop3d: a command is needed: serve, demo, recover, check, deliver or user (see --help), or a socket from inetd or systemd (${why})\n`,
});

describe('descriptor 0 is no socket of a client: one line, exit 64', () => {
  test.each([
    ['a socket pair of its parent', 'exec "$@"'],
    ['a pipe', ': | exec "$@"'],
    ['a file', `exec "$@" <${PROGRAM}`],
    ['/dev/null', 'exec "$@" </dev/null'],
    ['closed', 'exec "$@" <&-'],
  ])('%s', async (_, line) => {
    expect(await shell(line, [], [])).toEqual(nothing('descriptor 0 is no socket'));
  });

  test('a datagram socket', async () => {
    const program = `import os, socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
os.dup2(s.fileno(), 0); os.execv(sys.argv[1], sys.argv[1:])`;
    const line = `exec python3 -c '${program}' "$@"`;
    expect(await shell(line, [], [])).toEqual(nothing('descriptor 0 is no socket'));
  });
});

describe('LISTEN_PID and LISTEN_FDS', () => {
  test('of another process: says what it saw', async () => {
    const result = await shell('exec "$@"', [], [], { LISTEN_PID: '1', LISTEN_FDS: '1' });
    expect(result).toMatchObject({ code: 64, stdout: '' });
    expect(result.stderr).toMatch(
      /^[^\n]*\(LISTEN_PID is 1, and we are \d+: started through a wrapper\?\)\n$/,
    );
  });

  test.each(['', '0', '1e0', ' 1', '65', 'x'])('%j sockets', async fds => {
    const result = await shell('LISTEN_PID=$$ exec "$@"', [], [], { LISTEN_FDS: fds });
    expect(result).toEqual(nothing(`LISTEN_FDS is not a number of sockets: ${JSON.stringify(fds)}`));
  });

  test('a descriptor that is not open, one that is a file', async () => {
    const why = "of systemd's 1 descriptors not all are listening stream sockets";
    const start = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"';
    expect(await shell(`${start} 3<&-`, [], [])).toEqual(nothing(why));
    const file = openSync(PROGRAM, 'r');
    expect(await shell(start, [], [file])).toEqual(nothing(why));
    closeSync(file);
  });

  test.each(['pop3s', 'pop3:pop3s'])('sockets %s, and no certificate: none is served', async names => {
    const sockets = await Promise.all(names.split(':').map(() => listening()));
    const { flags } = places();
    const start = `export LISTEN_PID=$$ LISTEN_FDS=${sockets.length} LISTEN_FDNAMES=${names}; exec "$@"`;
    const { code, stdout, stderr } = await shell(start, flags, sockets);
    expect({ code, stdout }).toEqual({ code: 78, stdout: '' });
    expect(stderr).toMatch(
      /^[^\n]* error - not-started reason="the socket pop3s is for TLS: --tls-cert is missing"\n$/,
    );
  });
});

/** The descriptor of a listening socket. */
async function listening(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  return (server as unknown as { _handle: { fd: number } })._handle.fd;
}

describe('an AF_UNIX socket on descriptor 0', () => {
  async function answer(command: string[], line: string): Promise<{ said: string; codes: unknown[] }> {
    const { root, flags } = places();
    const path = join(root, 'door');
    const door = await Nowait.start([...NODE, ...command, ...flags], { path });
    const socket = connect(path);
    let said = '';
    socket.setEncoding('latin1').on('data', text => {
      said += text;
    });
    socket.write(line);
    await once(socket, 'end');
    return { said, codes: await door.exits() };
  }

  test('may be the pipe of a parent: silence', async () => {
    expect(await answer([], '')).toEqual({ said: '', codes: [64] });
  });

  test('is a client for `inetd`', async () => {
    const { said, codes } = await answer(['inetd'], 'QUIT\r\n');
    expect(said).toMatch(/^\+OK [^\n]*\r\n\+OK [^\n]*\r\n$/);
    expect(codes).toEqual([0]);
  });
});

describe('a set-up that cannot serve', () => {
  const REFUSAL = '-ERR [SYS/PERM] the server is not set up\r\n';

  test.each<[string, number, string[], ((state: string) => void)?]>([
    ['a flag that does not exist', 64, ['--nope']],
    ['a flag without its value', 64, ['--locks']],
    ['a word too many', 64, ['x']],
    ['a wrong value', 64, ['--lock-timeout=never']],
    ['a state directory that everybody may write', 78, [], state => openState(state, 0o1777)],
    ['a state directory of the other model', 78, [], state => otherModel(state)],
    ['a model that cannot be made out', 78, [], state => otherModel(state, 'something\n')],
    ['a state directory that is a file', 78, [], state => writeFileSync(state, '')],
  ])('%s: one POP3 line, exit %d', async (_, code, args, prepare) => {
    const { state, flags } = places();
    prepare?.(state);
    const door = await Nowait.start([...NODE, ...flags, ...args]);
    const client = await Pop3Client.connect(door.port);
    expect(await client.rest()).toBe(REFUSAL);
    expect(await door.exits()).toEqual([code]);
  });

  test('is over for a client that goes on talking and never leaves', async () => {
    const door = await Nowait.start([...NODE, '--nope']);
    const socket = connect({ port: door.port, host: '127.0.0.1', allowHalfOpen: true });
    onTestFinished(() => {
      socket.destroy();
    });
    socket.on('error', () => {});
    socket.write('USER alice\r\n'.repeat(20_000));
    let said = '';
    socket.setEncoding('latin1').on('data', text => {
      said += text;
    });
    await once(socket, 'end');
    expect(said).toBe(REFUSAL);
    expect(await door.exits()).toEqual([64]);
  });
});

function openState(state: string, mode: number): void {
  mkdirSync(state);
  chmodSync(state, mode);
}

function otherModel(state: string, text = IS_ROOT ? 'shared\n' : 'per-user\n'): void {
  mkdirSync(state);
  writeFileSync(join(state, 'model'), text);
}

test('many first connections at once: all are served, and they agree on the model', async () => {
  const { flags } = places();
  const door = await Nowait.start([...NODE, ...flags]);
  const clients = await Promise.all(Array.from({ length: 8 }, () => Pop3Client.connect(door.port)));
  for (const client of clients) client.send('QUIT\r\n');
  const said = await Promise.all(clients.map(client => client.rest()));
  for (const text of said) expect(text).toMatch(/^\+OK [^\n]*\r\n\+OK [^\n]*\r\n$/);
  expect(await door.exits()).toEqual(Array(8).fill(0));
});

test('signals end a session without a word, as often as they come', async () => {
  const { flags } = places();
  const door = await Nowait.start([...NODE, ...flags]);
  const client = await Pop3Client.greeted(door.port);
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGTERM', 'SIGINT'] as const) door.children[0]!.kill(signal);
  expect(await client.rest()).toBe('');
  expect(await door.exits()).toEqual([0]);
});

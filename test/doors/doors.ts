/** The super-servers, each started in a scratch host on a port of 127.0.0.1, in the foreground. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { MAIL, type ScratchHost, SERVICE } from './scratch-host.js';

export interface Door {
  readonly port: number;
  readonly superserver: ChildProcess;
}

type Start = (host: ScratchHost, port: number, flags: readonly string[]) => string[];

export interface Kind {
  readonly name: string;
  /** Programs that must be installed. */
  readonly programs: readonly string[];
  /** Who has the mailboxes open: each user, or the service account. */
  readonly model: 'per-user' | 'shared';
  /** Where the log goes. */
  readonly logs: 'syslog' | 'stderr';
  readonly command: Start;
  /** Started as that, not as root: its state directory is made by whoever installs it. */
  readonly asService?: true;
}

const inetd =
  (how: 'nowait' | 'wait', user: string): Start =>
  (host, port, flags) => {
    const conf = join(host.root, 'inetd.conf');
    const [node, ...rest] = host.program(...flags);
    writeFileSync(
      conf,
      `127.0.0.1:${port} stream tcp ${how}.100000 ${user} ${node} node ${rest.join(' ')}\n`,
    );
    return ['inetd', '-i', '-R', '100000', conf];
  };

const xinetd =
  (wait: 'yes' | 'no'): Start =>
  (host, port, flags) => {
    const conf = join(host.root, 'xinetd.conf');
    const [node, ...rest] = host.program(...flags);
    writeFileSync(
      conf,
      `service pop3-test
{
  type = UNLISTED
  bind = 127.0.0.1
  port = ${port}
  socket_type = stream
  protocol = tcp
  wait = ${wait}
  user = root
  server = ${node}
  server_args = ${rest.join(' ')}
  instances = UNLIMITED
  per_source = UNLIMITED
  cps = 10000 1
}
`,
    );
    return [
      'xinetd',
      '-dontfork',
      '-f',
      conf,
      '-pidfile',
      join(host.root, 'xinetd.pid'),
      '-filelog',
      '/dev/null',
    ];
  };

const asService = ['setpriv', `--reuid=${SERVICE.uid}`, `--regid=${MAIL}`, '--clear-groups', '--'];

const systemd =
  (how: readonly string[], wrapper: readonly string[] = []): Start =>
  (host, port, flags) => [
    ...wrapper,
    'systemd-socket-activate',
    '-l',
    `127.0.0.1:${port}`,
    '--setenv=NOTIFY_SOCKET',
    ...how,
    ...host.program(...flags),
  ];

const ACTIVATE = ['systemd-socket-activate'];

export const DOORS: readonly Kind[] = [
  {
    name: 'inetd nowait, root',
    programs: ['inetd'],
    model: 'per-user',
    logs: 'syslog',
    command: inetd('nowait', 'root'),
  },
  {
    name: 'inetd nowait, service account',
    programs: ['inetd'],
    model: 'shared',
    logs: 'syslog',
    command: inetd('nowait', 'mbox-pop3d:mail'),
    asService: true,
  },
  {
    name: 'inetd wait, root',
    programs: ['inetd'],
    model: 'shared',
    logs: 'syslog',
    command: inetd('wait', 'root'),
  },
  {
    name: 'inetd wait, service account',
    programs: ['inetd'],
    model: 'shared',
    logs: 'syslog',
    command: inetd('wait', 'mbox-pop3d:mail'),
    asService: true,
  },
  { name: 'xinetd, root', programs: ['xinetd'], model: 'per-user', logs: 'syslog', command: xinetd('no') },
  {
    name: 'xinetd wait, root',
    programs: ['xinetd'],
    model: 'shared',
    logs: 'syslog',
    command: xinetd('yes'),
  },
  {
    name: 'systemd Accept=no, root',
    programs: ACTIVATE,
    model: 'shared',
    logs: 'stderr',
    command: systemd(['--fdname=pop3']),
  },
  {
    name: 'systemd Accept=no, service account',
    programs: ACTIVATE,
    model: 'shared',
    logs: 'stderr',
    command: systemd(['--fdname=pop3'], asService),
    asService: true,
  },
  {
    name: 'systemd Accept=yes, root',
    programs: ACTIVATE,
    model: 'per-user',
    logs: 'stderr',
    command: systemd(['-a']),
  },
  {
    name: 'systemd Accept=yes, service account',
    programs: ACTIVATE,
    model: 'shared',
    logs: 'stderr',
    command: systemd(['-a'], asService),
    asService: true,
  },
  {
    name: 'systemd Accept=yes on descriptor 0, root',
    programs: ACTIVATE,
    model: 'per-user',
    logs: 'syslog',
    command: systemd(['-a', '--inetd']),
  },
];

/** Starts a super-server and waits until it listens. Ended, with all it has started, after the test. */
export async function openDoor(
  kind: Kind,
  host: ScratchHost,
  flags: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Door> {
  const port = await freePort();
  if (kind.asService) host.makeState(SERVICE);
  const [file, ...args] = host.inside(kind.command(host, port, flags));
  const superserver = spawn(file!, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, ...env },
    // A process group of its own, so that what it started ends with it.
    detached: true,
  });
  let said = '';
  for (const stream of [superserver.stdout, superserver.stderr]) {
    stream.setEncoding('latin1').on('data', text => {
      said += text;
    });
  }
  onTestFinished(async () => {
    if (superserver.exitCode === null) {
      process.kill(-superserver.pid!, 'SIGKILL');
      await once(superserver, 'exit');
    }
  });
  // A connection would start the server: /proc tells without one.
  while (!(await listens(port))) {
    if (superserver.exitCode !== null) throw new Error(`${file} ended: ${said}`);
    await sleep(20);
  }
  return { port, superserver };
}

async function listens(port: number): Promise<boolean> {
  const address = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A`;
  return (await readFile('/proc/net/tcp', 'latin1')).includes(address);
}

/** A port nobody has, until somebody else takes it. */
async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return port;
}

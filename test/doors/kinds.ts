/**
 * The kinds of doors: which super-server starts the program, as whom, and by which command line or configuration.
 * Without a test framework: the contention soak uses them, too.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The service account of scratch hosts. */
export const SERVICE = { uid: 61_100, gid: 61_100 };
/** Group mail, of scratch hosts as of most. */
export const MAIL = 8;

/** A host on which a super-server runs: where its files go, and the command that it runs. */
export interface DoorHost {
  readonly root: string;
  /** Our program by its absolute path, with what it needs to know of the host. */
  program(...flags: string[]): string[];
}

type Start = (host: DoorHost, port: number, flags: readonly string[]) => string[];

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
    const conf = join(host.root, `inetd-${port}.conf`);
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
    const conf = join(host.root, `xinetd-${port}.conf`);
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
      join(host.root, `xinetd-${port}.pid`),
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
  {
    name: 'inetd wait, root, two workers',
    programs: ['inetd'],
    model: 'shared',
    logs: 'syslog',
    command: (host, port, flags) => inetd('wait', 'root')(host, port, [...flags, '--workers=2']),
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
    name: 'systemd Accept=no, root, two workers',
    programs: ACTIVATE,
    model: 'shared',
    logs: 'stderr',
    command: (host, port, flags) => systemd(['--fdname=pop3'])(host, port, [...flags, '--workers=2']),
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

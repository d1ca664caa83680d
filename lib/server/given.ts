/**
 * What the process was started with, when no command says what to do: so that one path works in
 * inetd.conf, xinetd.d and systemd units alike (sd_listen_fds(3), inetd(8)).
 */
import { fstatSync } from 'node:fs';
import { Socket, type SocketConstructorOpts } from 'node:net';
import { errnoOf } from '../errors.js';
import type { SocketKind } from '../host/host.js';
import { READ_AHEAD } from './received.js';

/** A socket somebody else made. `name` is systemd's, or empty. */
export interface GivenSocket {
  readonly fd: number;
  readonly name: string;
}

export type Given =
  /** Sockets to accept on: systemd `Accept=no`, inetd `wait`. */
  | { readonly is: 'listeners'; readonly by: 'systemd' | 'inetd'; readonly sockets: readonly GivenSocket[] }
  /** One client: systemd `Accept=yes`, inetd `nowait`. */
  | { readonly is: 'connection'; readonly by: 'systemd' | 'inetd'; readonly socket: GivenSocket }
  | { readonly is: 'nothing'; readonly why: string };

/** sd_listen_fds(3): the first descriptor systemd passes. */
const FIRST_FD = 3;
/** systemd passes far fewer. */
const MOST_FDS = 64;

/**
 * Looks at the environment and at descriptor 0, and takes systemd's variables out of the environment, so
 * that no child believes them.
 * @param kindOf tells what a descriptor is
 * @param explicit the `inetd` command was given: then a connected AF_UNIX socket on descriptor 0 is a client
 *   too (without it, it may be the pipe of a parent)
 */
export async function whatIsGiven(
  kindOf: (fd: number) => Promise<SocketKind>,
  explicit: boolean,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Given> {
  const { LISTEN_PID: pid, LISTEN_FDS: count, LISTEN_FDNAMES: names } = env;
  delete env.LISTEN_PID;
  delete env.LISTEN_FDS;
  delete env.LISTEN_FDNAMES;
  if (pid === String(process.pid)) return fromSystemd(kindOf, count ?? '', names ?? '');

  const kind = await kindOf(0);
  const socket = { fd: 0, name: '' };
  if (kind === 'listening') return { is: 'listeners', by: 'inetd', sockets: [socket] };
  if (kind === 'connected' || (kind === 'unix' && explicit)) return { is: 'connection', by: 'inetd', socket };
  if (count !== undefined) {
    return {
      is: 'nothing',
      why: `LISTEN_PID is ${pid}, and we are ${process.pid}: started through a wrapper?`,
    };
  }
  return { is: 'nothing', why: 'descriptor 0 is no socket' };
}

async function fromSystemd(
  kindOf: (fd: number) => Promise<SocketKind>,
  fds: string,
  names: string,
): Promise<Given> {
  const count = /^[1-9][0-9]?$/.test(fds) ? Number(fds) : 0;
  if (count < 1 || count > MOST_FDS) {
    return { is: 'nothing', why: `LISTEN_FDS is not a number of sockets: ${JSON.stringify(fds)}` };
  }
  const named = names.split(':');
  const sockets = Array.from({ length: count }, (_, i) => ({ fd: FIRST_FD + i, name: named[i] ?? '' }));
  const kinds = new Set(await Promise.all(sockets.map(({ fd }) => kindOf(fd))));
  if (kinds.size === 1 && kinds.has('listening')) return { is: 'listeners', by: 'systemd', sockets };
  const [first] = sockets;
  if (sockets.length === 1 && first !== undefined && (kinds.has('connected') || kinds.has('unix'))) {
    return { is: 'connection', by: 'systemd', socket: first };
  }
  return { is: 'nothing', why: `of systemd's ${count} descriptors not all are listening stream sockets` };
}

/**
 * Opens a descriptor that may be a connection. Nothing is read from it before somebody wants to.
 * @returns undefined for what is no stream socket. One with a `remoteAddress` is a connection of TCP; without,
 *   it may be of AF_UNIX, or listen, or have been reset by its client
 */
export function openSocket(fd: number): Socket | undefined {
  const options: SocketConstructorOpts & { highWaterMark: number; manualStart: boolean } = {
    fd,
    readable: true,
    writable: true,
    allowHalfOpen: true,
    highWaterMark: READ_AHEAD,
    manualStart: true,
  };
  try {
    if (!fstatSync(fd).isSocket()) return undefined;
    const socket = new Socket(options);
    socket.on('error', () => socket.destroy());
    return socket;
  } catch (error) {
    if (['EBADF', 'ERR_INVALID_FD_TYPE'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

/**
 * sd_notify(3): tells the service manager how we are, by one datagram to a Unix socket. Node has no Unix
 * datagrams, and the `systemd-notify` program would be another process, which the unit must allow.
 */
import { closeSync } from 'node:fs';
import { libc } from './libc.js';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDTIMEO = 21;
const MSG_NOSIGNAL = 0x4000;
/** Of `sun_path` in unix(7). */
const MAX_PATH = 108;
/** How long a manager that does not read may hold us up. */
const TIMEOUT_SECONDS = 1;

const socket = libc.func('socket', 'int', ['int', 'int', 'int']) as (...args: number[]) => number;
const setsockopt = libc.func('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint32_t']);
const sendto = libc.func('sendto', 'intptr_t', ['int', 'void *', 'size_t', 'int', 'void *', 'uint32_t']);

/** `sockaddr_un` of NOTIFY_SOCKET; null until looked at, undefined when there is none we can reach. */
let address: Buffer | undefined | null = null;

/** The contract is `Host.notify`. */
export function notify(state: string): void {
  if (address === null) {
    address = socketAddress(process.env.NOTIFY_SOCKET);
    // A child of ours is not the service.
    delete process.env.NOTIFY_SOCKET;
  }
  if (address !== undefined) send(Buffer.from(state), address);
}

/** unix(7): the family and a path, or NUL and an abstract name, whose end is the end of the address. */
function socketAddress(name: string | undefined): Buffer | undefined {
  if (name === undefined || !/^[/@]./.test(name)) return undefined;
  const path = Buffer.from(name.startsWith('@') ? `\0${name.slice(1)}` : `${name}\0`);
  if (path.length > MAX_PATH) return undefined;
  return Buffer.concat([Uint8Array.of(AF_UNIX, 0), path]);
}

/** Failures are nobody's business here: whoever waits for us finds out by waiting in vain. */
function send(datagram: Buffer, to: Buffer): void {
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd === -1) return;
  const timeout = Buffer.alloc(16);
  timeout.writeBigInt64LE(BigInt(TIMEOUT_SECONDS));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, timeout, timeout.length);
  sendto(fd, datagram, datagram.length, MSG_NOSIGNAL, to, to.length);
  closeSync(fd);
}

/**
 * What Node.js does not tell of a descriptor: what the ones are that a process is born with, and how far the
 * other end of a connection has come. Numbers are those of asm-generic/socket.h and linux/tcp.h, for the
 * platforms of libc.ts, which are all little-endian.
 */
import koffi from 'koffi';
import type { Acknowledged, SocketKind } from './host.js';
import { libc, systemError } from './libc.js';

const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_RCVBUF = 8;
const SO_ACCEPTCONN = 30;
const SO_DOMAIN = 39;
const SOL_TCP = 6;
const TCP_INFO = 11;
/** In struct tcp_info: milliseconds since the last acknowledgement, and octets acknowledged. */
const TCPI_LAST_ACK_RECV = 56;
const TCPI_BYTES_ACKED = 120;
const SOCK_STREAM = 1;
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const F_DUPFD_CLOEXEC = 1030;
/** Above the standard ones. */
const FIRST_FREE = 3;
const { EBADF, ENOTSOCK } = koffi.os.errno;

type GetSockOpt = (fd: number, level: number, name: number, value: Buffer, length: Buffer) => number;
const getsockopt = libc.func('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *']) as GetSockOpt;
const setsockopt = libc.func('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint32']) as (
  fd: number,
  level: number,
  name: number,
  value: Buffer,
  length: number,
) => number;
const fcntl = libc.func('fcntl', 'int', ['int', 'int', '...']);

/** The contract is `Host.socketKind`. */
export function socketKind(fd: number): SocketKind {
  if (socketOption(fd, SO_TYPE) !== SOCK_STREAM) return 'none';
  if (socketOption(fd, SO_ACCEPTCONN) === 1) return 'listening';
  switch (socketOption(fd, SO_DOMAIN)) {
    case AF_INET:
    case AF_INET6:
      return 'connected';
    case AF_UNIX:
      return 'unix';
    default:
      return 'none';
  }
}

/** Used again and again: it is asked before each wait for a client. */
const tcpInfo = Buffer.alloc(TCPI_BYTES_ACKED + 8);
const tcpInfoLength = Buffer.alloc(4);

/** The contract is `Host.acknowledged`. */
export function acknowledged(fd: number): Acknowledged | undefined {
  tcpInfoLength.writeUInt32LE(tcpInfo.length);
  // Also for a socket that was closed just now; and bytes_acked is of Linux 4.1.
  if (getsockopt(fd, SOL_TCP, TCP_INFO, tcpInfo, tcpInfoLength) !== 0) return undefined;
  if (tcpInfoLength.readUInt32LE() < tcpInfo.length) return undefined;
  return {
    octets: Number(tcpInfo.readBigUInt64LE(TCPI_BYTES_ACKED)),
    ago: tcpInfo.readUInt32LE(TCPI_LAST_ACK_RECV),
  };
}

/** The contract is `Host.limitReceived`. */
export function limitReceived(fd: number, octets: number): void {
  const value = Buffer.alloc(4);
  value.writeInt32LE(octets);
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, value, value.length) === 0) return;
  const errno = koffi.errno();
  if (errno !== EBADF && errno !== ENOTSOCK) throw systemError('setsockopt', errno);
}

/** The contract is `Host.duplicateDescriptor`. */
export function duplicateDescriptor(fd: number): number {
  const duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 'int', FIRST_FREE);
  if (duplicate === -1) throw systemError('fcntl', koffi.errno());
  return duplicate;
}

/** An integer option of SOL_SOCKET, or undefined when `fd` is not an open socket. */
function socketOption(fd: number, name: number): number | undefined {
  const value = Buffer.alloc(4);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  if (getsockopt(fd, SOL_SOCKET, name, value, length) === 0) return value.readInt32LE();
  const errno = koffi.errno();
  if (errno === EBADF || errno === ENOTSOCK) return undefined;
  throw systemError('getsockopt', errno);
}

/** Who is at the other end of a socket. */
import type { Socket } from 'node:net';
import type { Peer } from '../pop3/ports.js';

/** The peer by getpeername(2); an IPv4-mapped IPv6 address is given as IPv4. */
export function peerOf(socket: Socket): Peer {
  // A socket that is gone already has no peer; one of AF_UNIX has no address.
  const address = (socket.remoteAddress ?? 'unknown').replace(/^::ffff:(?=[0-9.]+$)/i, '');
  return { address, port: socket.remotePort ?? 0 };
}

/** Whether the client is on this host, as far as its address tells. */
export function isLocal({ address }: Peer): boolean {
  return address === '::1' || /^127\./.test(address);
}

/** Who is at the other end of a socket. */
import type { Socket } from 'node:net';
import type { Peer } from '../pop3/ports.js';

/** The peer by getpeername(2). */
export function peerOf(socket: Socket): Peer {
  // A socket that is gone already has no peer; one of AF_UNIX has no address.
  return { address: plainAddress(socket.remoteAddress ?? 'unknown'), port: socket.remotePort ?? 0 };
}

/** An IPv4-mapped IPv6 address as IPv4, any other as it is. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=[0-9]+\.[0-9.]+$)/i, '');
}

/** Whether the client is on this host, as far as its address tells. */
export function isLocal({ address }: Peer): boolean {
  return address === '::1' || /^127\./.test(address);
}

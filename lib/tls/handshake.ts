/**
 * One handshake, as the server. RFC 2595 §2, RFC 8314 §3, RFC 7301 (ALPN).
 *
 * Invariant: it ends, well or badly, within its time and for so many octets, and when it ends badly the stream is destroyed.
 * Nothing that a client sends is anything but a reason here.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket, type TLSSocketOptions } from 'node:tls';
import { HandshakeFailed } from '../errors.js';
import type { Contexts } from './contexts.js';
import { HeldByTls, type Inbound } from './inbound.js';

/** What a handshake has made of a connection. */
export interface Secure {
  readonly socket: TLSSocket;
  readonly inbound: Inbound;
}

/**
 * @param timeout in ms
 * @throws HandshakeFailed
 */
export function handshake(stream: Duplex, contexts: Contexts, timeout: number): Promise<Secure> {
  return new Promise((resolve, reject) => {
    // What OpenSSL would wait for has come already, or never will.
    if (stream.destroyed || stream.readableEnded) {
      stream.destroy();
      reject(new HandshakeFailed('the connection was lost'));
      return;
    }
    // Any Duplex will do (the documentation says so, its types do not).
    // Nothing is read ahead; the option is older than its type.
    const options: TLSSocketOptions & { highWaterMark: number } = {
      highWaterMark: 0,
      isServer: true,
      secureContext: contexts.default,
      SNICallback: (name, choose) => choose(null, contexts.forName(name)),
      // RFC 7301 §3.2: a client that wants another protocol, and only that, is turned away (ALPACA).
      ALPNProtocols: ['pop3'],
    };
    const socket = new TLSSocket(stream as Socket, options);
    const inbound = new HeldByTls(stream, socket);
    const fail = (reason: string) => {
      over();
      socket.destroy();
      stream.destroy();
      reject(new HandshakeFailed(reason));
    };
    const lost = () => fail('the connection was lost');
    const onError = (error: Error) => fail(reasonOf(error));
    inbound.tooMuch = () => fail('too long');
    const timer = setTimeout(() => fail('timeout'), timeout);
    const over = () => clearTimeout(timer);
    socket.on('error', onError).on('end', lost).on('close', lost);
    socket.once('secure', () => {
      over();
      inbound.secured();
      // Not the one for errors: there is always somebody to hear them.
      socket.off('end', lost).off('close', lost);
      resolve({ socket, inbound });
    });
  });
}

/** `wrong version number` and the like, of OpenSSL's long text; else that of the system. */
function reasonOf(error: Error): string {
  if ('reason' in error && typeof error.reason === 'string') return error.reason;
  return error.message;
}

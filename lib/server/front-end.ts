/**
 * A connection from a front end that we trust (`--proxy-nets`): before anything else it says whose it is, by
 * the PROXY protocol. HAProxy's doc/proxy-protocol.txt §2 and §5.
 *
 * Invariants: nothing is sent before the header is complete; a connection without one is cut; what came
 * behind the header stays in the stream, for POP3 or TLS.
 */
import type { Duplex } from 'node:stream';
import type { Log } from '../log.js';
import type { Peer } from '../pop3/ports.js';
import { BadProxyHeader, type ProxyHeader, parseProxyHeader } from './proxy-protocol.js';
import { stoppableBy } from './stoppable.js';

/**
 * Reads the header.
 * @param proxy the other end of the connection itself
 * @param options.timeout for the whole header, in ms
 * @param options.signal shutdown: the connection is cut
 * @returns the client, with `via` the proxy; the proxy itself when it speaks for itself; undefined for a
 *   connection that was cut, which is then in the log
 */
export async function clientBehind(
  stream: Duplex,
  proxy: Peer,
  options: { readonly timeout: number; readonly signal: AbortSignal; readonly log: Log },
): Promise<Peer | undefined> {
  try {
    const { client } = await readHeader(stream, options);
    return client ? { ...client, via: proxy.address } : proxy;
  } catch (error) {
    if (!(error instanceof BadProxyHeader)) throw error;
    // Who connects and says nothing at all looks whether we are there.
    const level = error.message === '' ? 'debug' : 'warn';
    options.log.write(level, proxy.address, 'bad-proxy-header', { reason: error.message || 'none' });
    return undefined;
  }
}

/** @throws BadProxyHeader with the stream destroyed; its message is empty when nothing at all was sent */
function readHeader(
  stream: Duplex,
  { timeout, signal }: { readonly timeout: number; readonly signal: AbortSignal },
): Promise<ProxyHeader> {
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0);
    const over = () => {
      clearTimeout(timer);
      remove();
      stream.off('readable', onReadable).off('end', onLost).off('close', onLost);
    };
    const fail = (error: BadProxyHeader) => {
      over();
      stream.destroy();
      reject(error);
    };
    const onLost = () => fail(new BadProxyHeader(received.length > 0 ? 'the header is not complete' : ''));
    const onAbort = () => fail(new BadProxyHeader(''));
    const onReadable = () => {
      const chunk: Buffer | null = stream.read();
      if (chunk === null) return;
      received = received.length > 0 ? Buffer.concat([received, chunk]) : chunk;
      try {
        const header = parseProxyHeader(received);
        if (header === undefined) {
          stream.read(0); // Nothing is read ahead by itself.
          return;
        }
        over();
        // In the same turn, or an end that has come, too, would be told first.
        if (received.length > header.length) stream.unshift(received.subarray(header.length));
        resolve(header);
      } catch (error) {
        if (!(error instanceof BadProxyHeader)) throw error;
        fail(error);
      }
    };
    const timer = setTimeout(() => fail(new BadProxyHeader('timeout')), timeout);
    stream.on('readable', onReadable).on('end', onLost).on('close', onLost);
    const remove = stoppableBy(signal).add({ stop: onAbort });
    if (stream.destroyed || signal.aborted) onAbort();
  });
}

/** What a server does with the socket of a connection, and Node.js has no name for. */

/** TCP keepalive finds clients that vanished without a word, milliseconds of silence. */
export const KEEPALIVE_AFTER = 60_000;

/** The descriptor under a socket, also under TLS, or of a server; undefined for what has none. */
export function descriptorOf(stream: object): number | undefined {
  const handle: unknown = '_handle' in stream ? stream._handle : undefined;
  if (typeof handle !== 'object' || handle === null || !('fd' in handle)) return undefined;
  return typeof handle.fd === 'number' && handle.fd >= 0 ? handle.fd : undefined;
}

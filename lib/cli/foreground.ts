/**
 * Runs a server until a signal: SIGTERM or SIGINT drains (idle sessions end without UPDATE, a reply in
 * progress gets 30 s, an UPDATE always finishes); a second one cuts what is left, but never an UPDATE.
 */
import type { Log } from '../log.js';
import type { TcpServer } from '../server/tcp.js';

/** Milliseconds a reply in progress gets. */
const GRACE = 30_000;

/** Resolves when the server has stopped. */
export async function runUntilSignal(server: TcpServer, log: Log): Promise<void> {
  const signal = await new Promise<string>(resolve => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name));
  });
  log.write('info', '-', 'stopping', { signal, connections: server.connections });
  const drained = server.close(GRACE);
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => server.cut());
  await drained;
  log.write('info', '-', 'stopped');
}

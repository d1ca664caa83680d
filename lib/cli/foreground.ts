/**
 * Runs a server until a signal: SIGTERM, SIGINT or SIGHUP (the terminal is gone) drains: idle sessions
 * end without UPDATE, a reply in progress gets 30 s, an UPDATE always finishes. A second signal cuts what
 * is left, but never an UPDATE.
 */
import type { Log } from '../log.js';
import type { TcpServer } from '../server/tcp.js';

/** Milliseconds a reply in progress gets. */
const GRACE = 30_000;

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/**
 * Resolves when the server has stopped.
 * @param ending ends it like a signal; its reason is for the log
 * @param onStopping told when it begins to stop
 */
export async function runUntilSignal(
  server: TcpServer,
  log: Log,
  ending?: AbortSignal,
  onStopping: () => void = () => {},
): Promise<void> {
  let stopping = false;
  const cause = await new Promise<string>(resolve => {
    for (const name of SIGNALS) {
      // Kept to the end: without any listener but its own, the signal-exit that proper-lockfile brings
      // would end the process by the signal, in the middle of an UPDATE.
      process.on(name, () => {
        if (stopping) server.cut();
        stopping = true;
        resolve(name);
      });
    }
    ending?.addEventListener('abort', () => resolve(String(ending.reason)), { once: true });
  });
  stopping = true;
  const { connections } = server;
  onStopping();
  const drained = server.close(GRACE);
  log.write('info', '-', 'stopping', { cause, connections });
  await drained;
  log.write('info', '-', 'stopped');
}

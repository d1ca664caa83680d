/**
 * Listening sockets that somebody else opened: systemd `Accept=no`, inetd `wait`. One process serves all
 * who connect, as `serve` does, and leaves when nobody has been there for `idle-exit`; the sockets stay
 * with whoever opened them, who starts us again.
 */
import type { Settings } from '../config.js';
import type { Host } from '../host/host.js';
import type { Log } from '../log.js';
import type { Given } from '../server/given.js';
import { serveShared } from './serve-shared.js';
import { isImplicit } from './tls.js';

/** @throws UsageError for whatever the sysadmin must put right first */
export async function serveActivated(
  host: Host,
  log: Log,
  settings: Settings,
  given: Extract<Given, { is: 'listeners' }>,
): Promise<void> {
  for (const socket of given.sockets) isImplicit(settings, socket, undefined);
  await serveShared(host, log, settings, {
    open: async (server, tls) => {
      for (const socket of given.sockets) {
        const implicit = (port: number | undefined) => isImplicit(settings, socket, port);
        const port = await server.listenOn(socket.fd, ({ localPort }) => tls?.offer(implicit(localPort)));
        implicit(port); // Throws now, not at the first client.
      }
    },
    onReady: () => log.write('info', '-', 'ready', { by: given.by, sockets: given.sockets.length }),
    idleExit: settings.idleExit,
    // Under inetd, descriptor 2 was the client's.
    syslog: given.by === 'inetd',
  });
}

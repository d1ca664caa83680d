/**
 * Listening sockets that somebody else opened: systemd `Accept=no`, inetd `wait`. One process serves all
 * who connect, as `serve` does, and leaves when nobody has been there for `idle-exit`; the sockets stay
 * with whoever opened them, who starts us again.
 */
import type { Settings } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Log } from '../log.js';
import type { Given } from '../server/given.js';
import { TcpServer } from '../server/tcp.js';
import { runUntilStopped, StopRequest } from './foreground.js';
import { selfCheck } from './self-check.js';
import { sweep } from './serve.js';
import { prepareService } from './service.js';

/** @throws UsageError for whatever the sysadmin must put right first */
export async function serveActivated(
  host: Host,
  log: Log,
  settings: Settings,
  given: Extract<Given, { is: 'listeners' }>,
): Promise<void> {
  const request = new StopRequest();
  let diskFailed = false;
  const service = await prepareService(host, log, settings, {
    stays: true,
    onDiskFailure: () => {
      diskFailed = true;
      request.stop('disk failure');
    },
  });
  const server = new TcpServer({
    ...settings,
    services: service.services,
    log,
    onIdle: { after: settings.idleExit, leave: () => request.stop('idle') },
  });
  for (const { fd } of given.sockets) await server.listenOn(fd);
  await service.dropRoot();
  server.start();
  for (const finding of selfCheck(settings)) log.write('warn', '-', 'self-check', { ...finding });
  log.write('info', '-', 'ready', { by: given.by, sockets: given.sockets.length });
  host.notify(`READY=1\nSTATUS=serving ${settings.spool}`);
  const swept = settings.readOnly ? Promise.resolve() : sweep(service, log);
  await runUntilStopped(server, log, request, () => host.notify('STOPPING=1'));
  await swept;
  await service.backends.close();
  if (diskFailed) throw new UsageError('the disk failed: an update is kept in its journal', EX.IOERR);
}

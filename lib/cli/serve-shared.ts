/**
 * The course of a process that serves all who connect, whoever opened its sockets: prepare, open, give up
 * root, check, say that it is ready, finish what an earlier process left, run until it is told to stop.
 */
import type { Settings } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Log } from '../log.js';
import { connectionsPossible } from '../server/descriptors.js';
import { TcpServer } from '../server/tcp.js';
import { runUntilStopped, StopRequest } from './foreground.js';
import { selfCheck } from './self-check.js';
import { prepareService, recoverUsers, type Service } from './service.js';
import { ServerTls } from './tls.js';

/** What differs between the ways to be started. */
export interface SharedOptions<Opened> {
  /** Makes the server listen. Root, if we were started as root. `tls` is undefined without certificates. */
  open(server: TcpServer, tls: ServerTls | undefined): Promise<Opened>;
  /** Called once clients are served. */
  onReady(opened: Opened): void;
  onStopping?(): void;
  /** Leave when nobody has been connected for so many milliseconds; 0 for never, as without it. */
  readonly idleExit?: number;
}

/** Serves until told to stop. @throws UsageError for whatever the sysadmin must put right */
export async function serveShared<Opened>(
  host: Host,
  log: Log,
  settings: Settings,
  options: SharedOptions<Opened>,
): Promise<void> {
  const request = new StopRequest('reloads');
  let diskFailed = false;
  const service = await prepareService(host, log, settings, {
    stays: true,
    onDiskFailure: () => {
      diskFailed = true;
      request.stop('disk failure');
    },
  });
  const maxConnections = Math.min(settings.maxConnections, connectionsPossible());
  const server = new TcpServer({
    ...settings,
    maxConnections,
    services: service.services,
    log,
    onIdle: { after: options.idleExit ?? 0, leave: () => request.stop('idle') },
  });
  const tls = await ServerTls.open(settings, log);
  const opened = await options.open(server, tls);
  await service.dropRoot();
  server.start();

  if (maxConnections < settings.maxConnections) {
    const remedy = 'raise the limit of open files (ulimit -n, LimitNOFILE=)';
    log.write('warn', '-', 'fewer-connections', { possible: maxConnections, remedy });
  }
  for (const finding of selfCheck(settings)) log.write('warn', '-', 'self-check', { ...finding });
  request.onHangup(() => {
    log.write('info', '-', 'reloading', { cause: 'SIGHUP' });
    tls?.reload();
  });
  options.onReady(opened);
  // Not waited for: a login finishes its own mailbox first, and one that is locked must not keep others out.
  const swept = settings.readOnly ? Promise.resolve() : sweep(service, log);
  await runUntilStopped(server, log, request, () => options.onStopping?.());
  await swept;
  await service.backends.close();
  await tls?.close();
  if (diskFailed) {
    throw new UsageError('the disk failed: an update is kept in its journal, see the log', EX.IOERR);
  }
}

/**
 * Finishes what an earlier process left, so that no mail reader sees it half done for long. Never rejects:
 * what cannot be finished now is, at the next login, finished or that login refused.
 */
async function sweep({ spool, backends }: Service, log: Log): Promise<void> {
  try {
    for await (const result of recoverUsers(spool, backends, await spool.unfinished())) {
      if (!('failed' in result)) continue;
      log.write('error', '-', 'recovery-failed', { user: result.user, reason: result.failed.message });
    }
  } catch (error) {
    log.write('error', '-', 'recovery-failed', { reason: String(error) });
  }
}

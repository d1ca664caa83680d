/**
 * The course of a process that serves all who connect, whoever opened its sockets: prepare, open, give up
 * root, check, say that it is ready, finish what an earlier process left, run until it is told to stop.
 */
import type { Settings } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Log } from '../log.js';
import { DescriptorBudget } from '../server/descriptors.js';
import { TcpServer } from '../server/tcp.js';
import { runUntilStopped, StopRequest } from './foreground.js';
import { selfCheck } from './self-check.js';
import { prepareService, recoverUsers, type Service } from './service.js';
import type { Supervisor, SupervisorOptions } from './supervisor.js';
import { ServerTls } from './tls.js';
import { feedWatchdog } from './watchdog.js';

/** What differs between the ways to be started. */
export interface SharedOptions<Opened> {
  /** Makes the server listen. Root, if we were started as root. `tls` is undefined without certificates. */
  open(server: Pick<TcpServer, 'listen' | 'listenOn'>, tls: ServerTls | undefined): Promise<Opened>;
  /** Called once clients are served. */
  onReady(opened: Opened): void;
  /** Leave when nobody has been connected for so many milliseconds; 0 for never, as without it. */
  readonly idleExit?: number;
  /** The log goes to syslog(3). */
  readonly syslog?: boolean;
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
  const onDiskFailure = () => {
    diskFailed = true;
    request.stop('disk failure');
  };
  const service = await prepareService(host, log, settings, { stays: true, onDiskFailure });
  const descriptors = new DescriptorBudget();
  const maxConnections = Math.min(settings.maxConnections, descriptors.connections);
  const onIdle = { after: options.idleExit ?? 0, leave: () => request.stop('idle') };
  const tls = await ServerTls.open(settings, log);
  // Not waited for: a login finishes its own mailbox first, and one that is locked must not keep others out.
  let swept: Promise<void> = Promise.resolve();
  const finishLeft = () => {
    if (!settings.readOnly) swept = swept.then(() => sweep(service, log));
  };
  const services = { ...service.services, descriptors };
  const common = { services, log, maxConnections, onIdle };
  const server =
    settings.workers === 1
      ? new TcpServer({ ...settings, ...common })
      : await supervisor({
          ...common,
          host,
          settings,
          tls,
          syslog: options.syslog ?? false,
          // What it was at is finished before a mail reader sees it half done.
          onLost: finishLeft,
          onDiskFailure,
        });
  const opened = await options.open(server, tls);
  await service.dropRoot();
  await server.start();

  if (descriptors.sessions < settings.maxConnections) {
    const remedy = 'raise the limit of open files (ulimit -n, LimitNOFILE=)';
    log.write('warn', '-', 'fewer-connections', { possible: descriptors.sessions, remedy });
  }
  for (const finding of selfCheck(settings)) log.write('warn', '-', 'self-check', { ...finding });
  request.onHangup(() => {
    log.write('info', '-', 'reloading', { cause: 'SIGHUP' });
    tls?.reload();
  });
  options.onReady(opened);
  host.notify(`READY=1\nSTATUS=serving ${settings.spool}`);
  const restWatchdog = feedWatchdog(host);
  finishLeft();
  await runUntilStopped(server, log, request, () => host.notify('STOPPING=1'));
  await swept;
  await service.backends.close();
  await tls?.close();
  restWatchdog();
  if (diskFailed) {
    throw new UsageError('the disk failed: an update is kept in its journal, see the log', EX.IOERR);
  }
}

/** Loaded only where there are workers. */
async function supervisor(options: SupervisorOptions): Promise<Supervisor> {
  const { Supervisor } = await import('./supervisor.js');
  return new Supervisor(options);
}

/**
 * Finishes what an earlier process left, so that no mail reader sees it half done for long, and clears up after it.
 * Never rejects: what cannot be finished now is, at the next login, finished or that login refused.
 */
async function sweep({ spool, backends }: Service, log: Log): Promise<void> {
  try {
    for await (const result of recoverUsers(spool, backends, await spool.unfinished())) {
      if (!('failed' in result)) continue;
      log.write('error', '-', 'recovery-failed', { user: result.user, reason: result.failed.message });
    }
    await spool.clearUp();
  } catch (error) {
    log.write('error', '-', 'recovery-failed', { reason: String(error) });
  }
}

/** `mbox-pop3d serve`: the daemon, in the foreground, on addresses of its own. */
import { type RawOptions, settingsFrom } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { loadHost } from '../host/load.js';
import type { Log } from '../log.js';
import { TcpServer } from '../server/tcp.js';
import { runUntilStopped, StopRequest } from './foreground.js';
import { selfCheck } from './self-check.js';
import { prepareService, recoverUsers, type Service } from './service.js';
import { stderrLog } from './stderr-log.js';

export async function serve(raw: RawOptions): Promise<void> {
  const settings = settingsFrom(raw);
  const log = stderrLog(settings.logLevel);
  const host = await nativeHost();
  const request = new StopRequest();
  let diskFailed = false;
  const service = await prepareService(host, log, settings, {
    stays: true,
    onDiskFailure: () => {
      diskFailed = true;
      request.stop('disk failure');
    },
  });
  const server = new TcpServer({ ...settings, services: service.services, log });
  const bound = await server.listen(settings.listen);
  await service.dropRoot();
  server.start();

  for (const finding of selfCheck(settings)) log.write('warn', '-', 'self-check', { ...finding });
  const where = bound.map(({ address, port }) =>
    address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
  );
  process.stdout.write(`mbox-pop3d ready on ${where.join(' ')}\n`);
  // Not waited for: a login finishes its own mailbox first, and one that is locked must not keep others out.
  const swept = settings.readOnly ? Promise.resolve() : sweep(service, log);
  await runUntilStopped(server, log, request);
  await swept;
  await service.backends.close();
  if (diskFailed) {
    throw new UsageError('the disk failed: an update is kept in its journal, see the log', EX.IOERR);
  }
}

/** The host with all its locks and hashes. @throws UsageError EX_UNAVAILABLE */
export async function nativeHost(): Promise<Host> {
  const { host, degraded } = await loadHost();
  if (degraded === undefined) return host;
  throw new UsageError(`cannot lock mailboxes or check passwords on this host: ${degraded}`, EX.UNAVAILABLE);
}

/**
 * Finishes what an earlier process left, so that no mail reader sees it half done for long. Never rejects:
 * what cannot be finished now is, at the next login, finished or that login refused.
 */
export async function sweep({ spool, backends }: Service, log: Log): Promise<void> {
  try {
    for await (const result of recoverUsers(spool, backends, await spool.unfinished())) {
      if (!('failed' in result)) continue;
      log.write('error', '-', 'recovery-failed', { user: result.user, reason: result.failed.message });
    }
  } catch (error) {
    log.write('error', '-', 'recovery-failed', { reason: String(error) });
  }
}

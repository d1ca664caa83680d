/**
 * `mbox-pop3d serve`: the daemon, in the foreground. As root it does only what needs root (the
 * directories, the ports, reading the users file for the first time), then gives root up for good before
 * the first connection is accepted and before any mailbox is opened.
 */
import type { RawOptions } from '../config.js';
import { EX, UsageError } from '../errors.js';
import { TcpServer } from '../server/tcp.js';
import { createServices, createSpool } from '../services.js';
import { runUntilSignal } from './foreground.js';
import { selfCheck } from './self-check.js';
import { prepareService, recoverUsers, type Service } from './service.js';

export async function serve(raw: RawOptions): Promise<void> {
  const service = await prepareService(raw, true);
  const { settings, log, host, users, ownerOf } = service;
  const diskFailure = new AbortController();
  const services = createServices(settings, {
    host,
    log,
    authenticator: users,
    ownerOf,
    onDiskFailure: () => diskFailure.abort(),
  });
  const server = new TcpServer({ ...settings, services, log });
  const bound = await server.listen(settings.listen);
  await service.dropRoot();
  server.start();

  for (const { trouble, remedy } of selfCheck(settings)) {
    log.write('warn', '-', 'self-check', { trouble, remedy });
  }
  const where = bound.map(({ address, port }) =>
    address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
  );
  process.stdout.write(`mbox-pop3d ready on ${where.join(' ')}\n`);
  // Not waited for: a login finishes its own mailbox first, and one that is locked must not keep others out.
  const swept = settings.readOnly ? Promise.resolve() : sweep(service);
  await runUntilSignal(server, log, diskFailure.signal);
  await swept;
  await users.close();
  if (diskFailure.signal.aborted) {
    throw new UsageError('the disk failed: an update is kept in its journal, see the log', EX.IOERR);
  }
}

/** Finishes what an earlier process left, so that no mail reader sees it half done for long. */
async function sweep({ settings, log, host, ownerOf, users }: Service): Promise<void> {
  const spool = createSpool(settings, { host, log, ownerOf });
  for await (const result of recoverUsers(spool, users, await spool.unfinished())) {
    if (!('failed' in result)) continue;
    log.write('error', '-', 'recovery-failed', { user: result.user, reason: result.failed.message });
  }
}

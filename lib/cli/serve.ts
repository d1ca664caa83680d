/** `mbox-pop3d serve`: the daemon, in the foreground, on addresses of its own. */
import { type RawOptions, type Settings, settingsFrom } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { loadHost } from '../host/load.js';
import type { TcpServer } from '../server/tcp.js';
import { serveShared } from './serve-shared.js';
import { stderrLog, writeIfPossible } from './stderr-log.js';
import type { ServerTls } from './tls.js';

export async function serve(raw: RawOptions): Promise<void> {
  const settings = settingsFrom(raw);
  if (settings.tls !== undefined) {
    throw new UsageError('--tls is about a socket that is given; serve has --tls-listen', EX.USAGE);
  }
  const log = stderrLog(settings.logLevel);
  const host = await nativeHost();
  await serveShared(host, log, settings, {
    open: (server, tls) => listen(server, settings, tls),
    onReady: where => writeIfPossible(process.stdout, `mbox-pop3d ready${where}\n`),
  });
}

/** Listens on all addresses of the settings. @returns them as they were bound, for the ready line */
export async function listen(
  server: Pick<TcpServer, 'listen'>,
  { listen: plain, tlsListen }: Settings,
  tls: ServerTls | undefined,
): Promise<string> {
  const bound = await server.listen([
    ...plain.map(address => ({ ...address, tls: tls?.offer(false, address.tlsMin) })),
    ...tlsListen.map(address => ({ ...address, tls: tls?.offer(true, address.tlsMin) })),
  ]);
  const where = bound.map(({ address, port }) =>
    address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
  );
  const [on, under] = [where.slice(0, plain.length), where.slice(plain.length)];
  return `${on.length > 0 ? ` on ${on.join(' ')}` : ''}${under.length > 0 ? `, TLS on ${under.join(' ')}` : ''}`;
}

/** The host with all its locks and hashes. @throws UsageError EX_UNAVAILABLE */
export async function nativeHost(): Promise<Host> {
  const { host, degraded } = await loadHost();
  if (degraded === undefined) return host;
  throw new UsageError(`cannot lock mailboxes or check passwords on this host: ${degraded}`, EX.UNAVAILABLE);
}

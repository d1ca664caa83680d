/** `mbox-pop3d serve`: the daemon, in the foreground, on addresses of its own. */
import { type RawOptions, settingsFrom } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { loadHost } from '../host/load.js';
import { serveShared } from './serve-shared.js';
import { stderrLog } from './stderr-log.js';

export async function serve(raw: RawOptions): Promise<void> {
  const settings = settingsFrom(raw);
  const log = stderrLog(settings.logLevel);
  const host = await nativeHost();
  await serveShared(host, log, settings, {
    open: async server => {
      const bound = await server.listen(settings.listen);
      return bound.map(({ address, port }) =>
        address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
      );
    },
    onReady: where => process.stdout.write(`mbox-pop3d ready on ${where.join(' ')}\n`),
  });
}

/** The host with all its locks and hashes. @throws UsageError EX_UNAVAILABLE */
export async function nativeHost(): Promise<Host> {
  const { host, degraded } = await loadHost();
  if (degraded === undefined) return host;
  throw new UsageError(`cannot lock mailboxes or check passwords on this host: ${degraded}`, EX.UNAVAILABLE);
}

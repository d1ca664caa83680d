/**
 * `mbox-pop3d serve`: the daemon, in the foreground. As root it does only what needs root (the
 * directories, the ports, reading the users file for the first time), then gives root up for good before
 * the first connection is accepted and before any mailbox is opened.
 */
import { chownSync, mkdirSync, realpathSync } from 'node:fs';
import { UsersFile } from '../auth/users-file.js';
import { type RawOptions, settingsFrom } from '../config.js';
import { EX, errnoOf, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { loadHost } from '../host/load.js';
import type { Account } from '../pop3/ports.js';
import { TcpServer } from '../server/tcp.js';
import { createServices, effectiveUid } from '../services.js';
import { runUntilSignal } from './foreground.js';
import { selfCheck } from './self-check.js';
import { serviceIdentity } from './service-user.js';
import { stderrLog } from './stderr-log.js';

export async function serve(raw: RawOptions): Promise<void> {
  const settings = settingsFrom(raw);
  const log = stderrLog(settings.logLevel);
  const { host, degraded } = await loadHost();
  if (degraded !== undefined) {
    throw new UsageError(
      `cannot lock mailboxes or check passwords on this host: ${degraded}`,
      EX.UNAVAILABLE,
    );
  }
  process.umask(0o077);
  const identity = effectiveUid() === 0 ? serviceIdentity(host, settings) : undefined;
  for (const dir of [settings.stateDir, settings.runtimeDir])
    makePrivate(dir, identity?.user.uid, identity?.gid);
  const users = await UsersFile.open({ path: settings.users, host, log, watch: true });

  const services = createServices(settings, { host, log, authenticator: users, ownerOf: ownerOf(host) });
  const server = new TcpServer({ ...settings, services, log });
  const bound = [];
  for (const address of settings.listen) bound.push(await server.listen(address.host, address.port));
  if (identity !== undefined) {
    // What loads when first needed must load now: our own files may be out of reach afterwards.
    await host.warmUp();
    host.becomeUser(identity.user, identity.gid);
  }

  for (const { trouble, remedy } of selfCheck(settings))
    log.write('warn', '-', 'self-check', { trouble, remedy });
  const where = bound.map(({ address, port }) =>
    address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
  );
  process.stdout.write(`mbox-pop3d ready on ${where.join(' ')}\n`);
  await runUntilSignal(server, log);
  await users.close();
}

/** The uid field of the users file, else passwd(5), else our own. uid 0 never gets a mailbox. */
function ownerOf(host: Host): (account: Account) => number {
  return account => {
    const uid = account.uid ?? host.findUser(account.user)?.uid ?? effectiveUid();
    // No file is owned by uid -1, so the mailbox is refused.
    return uid === 0 ? -1 : uid;
  };
}

/** Makes a directory of ours, for us alone. @throws UsageError EX_CANTCREAT, naming it */
function makePrivate(dir: string, uid: number | undefined, gid: number | undefined): void {
  try {
    const made = mkdirSync(dir, { recursive: true, mode: 0o700 });
    // One that was there is the host's to own; only what we made is given away.
    if (made !== undefined && uid !== undefined && gid !== undefined) chownSync(realpathSync(dir), uid, gid);
  } catch (cause) {
    throw new UsageError(`cannot create ${dir}: ${errnoOf(cause)}`, EX.CANTCREAT, { cause });
  }
}

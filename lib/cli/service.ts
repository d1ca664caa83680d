/**
 * The shared model: one process with one account serves all mailboxes (`serve`, systemd `Accept=no`, inetd
 * `wait`), or recovers them. When started as root it does only what needs root, then gives it up for good,
 * before the first client is served and before any mailbox is opened.
 */
import type { Settings } from '../config.js';
import type { Host } from '../host/host.js';
import type { Log } from '../log.js';
import type { RecoveryReport } from '../maildrop/found-journal.js';
import type { Spool } from '../maildrop/open.js';
import type { Account } from '../pop3/ports.js';
import { createServices, createSpool, effectiveUid, type Services } from '../services.js';
import { type Backends, openBackends } from './authenticator.js';
import { mailboxOwner } from './per-user.js';
import { serviceIdentity } from './service-user.js';
import { claimModel, ownDirectory, refuseOtherModel } from './state-dir.js';

export interface Service {
  readonly backends: Backends;
  readonly services: Services;
  readonly spool: Spool;
  /** Becomes the service user, if started as root. */
  dropRoot(): Promise<void>;
}

export interface ServiceOptions {
  /** Whether the process stays, so that it notices changes of the users file at once. */
  readonly stays: boolean;
  readonly onDiskFailure?: () => void;
}

/** @throws UsageError for whatever the sysadmin must put right first */
export async function prepareService(
  host: Host,
  log: Log,
  settings: Settings,
  options: ServiceOptions,
): Promise<Service> {
  process.umask(0o077);
  const backends = await openBackends(host, log, settings, options.stays);
  const identity = effectiveUid() === 0 ? serviceIdentity(host, settings) : undefined;
  const owner = identity
    ? { uid: identity.user.uid, gid: identity.gid }
    : { uid: effectiveUid(), gid: process.getegid?.() ?? -1 };
  refuseOtherModel(settings.stateDir, 'shared');
  for (const dir of [settings.stateDir, settings.runtimeDir]) ownDirectory(dir, owner, 0o700);
  claimModel(settings.stateDir, 'shared');
  const parts = {
    host,
    log,
    authenticator: backends.authenticator,
    ownerOf: (account: Account) => mailboxOwner(host, account),
    onDiskFailure: options.onDiskFailure,
  };
  return {
    backends,
    services: createServices(settings, parts),
    spool: await createSpool(settings, parts),
    dropRoot: async () => {
      if (identity === undefined) return;
      // What loads when first needed must load now: our own files may be out of reach afterwards.
      await host.warmUp();
      host.becomeUser(identity.user, identity.gid);
    },
  };
}

/** What became of one user's interrupted UPDATE. */
export type Recovered = { readonly user: string } & (
  | { readonly report: RecoveryReport }
  | { readonly failed: Error }
);

/** Finishes the interrupted UPDATEs of these users, one after the other; one failure stops no other. */
export async function* recoverUsers(
  spool: Spool,
  backends: Backends,
  names: readonly string[],
): AsyncGenerator<Recovered> {
  for (const user of names) {
    try {
      yield { user, report: await spool.recover(backends.account(user) ?? { user }) };
    } catch (error) {
      yield { user, failed: error instanceof Error ? error : new Error(String(error)) };
    }
  }
}

/**
 * What `serve` and `recover` have in common: settings, log, host, directories, users file; and, when
 * started as root, the point at which root is given up for good, before any mailbox is opened.
 */
import { chownSync, mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { UsersFile } from '../auth/users-file.js';
import { type RawOptions, type Settings, settingsFrom } from '../config.js';
import { EX, errnoOf, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { loadHost } from '../host/load.js';
import type { Log } from '../log.js';
import type { Spool } from '../maildrop/open.js';
import type { RecoveryReport } from '../maildrop/recovery.js';
import type { Account } from '../pop3/ports.js';
import { effectiveUid } from '../services.js';
import { serviceIdentity } from './service-user.js';
import { stderrLog } from './stderr-log.js';

export interface Service {
  readonly settings: Settings;
  readonly log: Log;
  readonly host: Host;
  readonly users: UsersFile;
  /** Who must own the mailbox file of an account. */
  readonly ownerOf: (account: Account) => number;
  /** Becomes the service user, if started as root. */
  dropRoot(): Promise<void>;
}

/** No file is owned by it, so the mailbox is refused. */
const NOBODY_AT_ALL = -1;

/**
 * @param watch whether to notice changes of the users file, for a process that stays
 * @throws UsageError for whatever the sysadmin must put right first
 */
export async function prepareService(raw: RawOptions, watch: boolean): Promise<Service> {
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
  const users = await UsersFile.open({ path: settings.users, host, log, watch });
  const identity = effectiveUid() === 0 ? serviceIdentity(host, settings) : undefined;
  for (const dir of [settings.stateDir, settings.runtimeDir]) {
    makePrivate(dir, identity?.user.uid, identity?.gid);
  }
  return {
    settings,
    log,
    host,
    users,
    ownerOf: account => {
      // The uid field of the users file, else passwd(5), else ours; uid 0 never gets a mailbox.
      const uid = account.uid ?? host.findUser(account.user)?.uid ?? effectiveUid();
      return uid === 0 ? NOBODY_AT_ALL : uid;
    },
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
  users: UsersFile,
  names: readonly string[],
): AsyncGenerator<Recovered> {
  for (const user of names) {
    try {
      yield { user, report: await spool.recover(users.account(user) ?? { user }) };
    } catch (error) {
      yield { user, failed: error instanceof Error ? error : new Error(String(error)) };
    }
  }
}

/** Makes a directory of ours, for us alone. @throws UsageError EX_CANTCREAT, naming it */
function makePrivate(dir: string, uid: number | undefined, gid: number | undefined): void {
  try {
    const made = mkdirSync(dir, { recursive: true, mode: 0o700 });
    // What was there is the host's to own; what we made is given away, from the inside out.
    if (made === undefined || uid === undefined || gid === undefined) return;
    for (let path = resolve(dir); path.length >= made.length; path = dirname(path)) chownSync(path, uid, gid);
  } catch (cause) {
    throw new UsageError(`cannot create ${dir}: ${errnoOf(cause)}`, EX.CANTCREAT, { cause });
  }
}

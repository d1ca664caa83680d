/**
 * Whom a message is for, and with which ids it is delivered: as root, after becoming that user for good,
 * with the spool's group only for files made in the spool; else with the ids the process was started with.
 */
import type { Settings } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host, SystemUser } from '../host/host.js';
import type { Log } from '../log.js';
import type { Account } from '../pop3/ports.js';
import { DEFAULT_GROUP } from './service-user.js';
import { asSpoolGroup } from './spool-group.js';

export interface Recipient {
  /** The uid that must own the mailbox. */
  readonly owner: number;
  /** Whom root becomes. */
  readonly user: SystemUser | undefined;
  readonly mailGroup: number | undefined;
}

/**
 * By the users file, if there is one, else by passwd(5).
 * @throws UsageError EX_NOUSER when neither knows the name; Error for what a sysadmin must put right
 */
export async function findRecipient(
  host: Host,
  log: Log,
  settings: Settings,
  name: string,
): Promise<Recipient> {
  const account = await accountOf(host, log, settings, name);
  const known = host.findUser(name);
  if (account === undefined && known === undefined) {
    throw new UsageError('no such user', EX.NOUSER);
  }
  const euid = process.geteuid?.();
  const uid = account?.uid ?? known?.uid;
  const gid = account?.gid ?? known?.gid;
  const owner = uid ?? euid;
  if (owner === undefined || owner === 0) {
    throw new Error('mail is not delivered to uid 0: make it an alias of somebody else');
  }
  const mailGroup = host.findGroup(settings.group ?? DEFAULT_GROUP);
  if (euid !== 0) return { owner, user: undefined, mailGroup };
  if (uid === undefined || gid === undefined || gid === 0) {
    throw new Error('neither users file nor passwd(5) gives a uid and gid, other than 0');
  }
  return { owner, user: { name, uid, gid }, mailGroup };
}

/** Gives up root, if we are. @returns what makes files in the spool, where that takes its group */
export async function becomeRecipient(
  host: Host,
  settings: Settings,
  { user, mailGroup }: Recipient,
): Promise<(<T>(run: () => T) => T) | undefined> {
  if (user === undefined) return undefined;
  await host.warmUp();
  host.becomeMailUser(user, mailGroup);
  if (mailGroup === undefined) return undefined;
  return run => asSpoolGroup(host, settings.spool, mailGroup, run);
}

async function accountOf(
  host: Host,
  log: Log,
  { users }: Settings,
  name: string,
): Promise<Account | undefined> {
  if (users === undefined || users === '') return undefined;
  const { UsersFile } = await import('../auth/users-file.js');
  return (await UsersFile.open({ path: users, host, log, watch: false })).account(name);
}

/** Mailbox files of the accounts that `user` manages: whose they are, making one, saying that one stays. */
import { lstatSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { EX, errnoOf, UsageError } from '../errors.js';
import { createMailbox } from '../maildrop/create-mailbox.js';
import { effectiveUid } from '../services.js';
import { textOption, type UserTask } from './user-task.js';

/**
 * The fields UID and GID as `--uid` and `--gid` give them; none when neither is given.
 * @throws UsageError EX_NOUSER for a name that does not exist, EX_USAGE for root
 */
export function ownerFields({ host, options }: UserTask): string[] {
  const [uidText, gidText] = [textOption(options, 'uid'), textOption(options, 'gid')];
  if (uidText === undefined && gidText === undefined) return [];
  const user = uidText === undefined || isNumber(uidText) ? undefined : host.findUser(uidText);
  const uid = idOf('uid', uidText, user?.uid);
  const group = gidText === undefined || isNumber(gidText) ? user?.gid : host.findGroup(gidText);
  return [uid, idOf('gid', gidText, group)];
}

/** The mailbox file of a user, by the spool that was given. */
export function mailboxOf({ name, options }: UserTask, user = name): string {
  return join(textOption(options, 'spool') ?? '', user);
}

/** What lstat(2) says of a mailbox file, or undefined when there is none or it cannot be told. */
export function mailboxStats(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** Words for what `remove` leaves. */
export async function keptMailbox(task: UserTask): Promise<string> {
  const path = mailboxOf(task);
  return mailboxStats(path) === undefined ? '' : `; ${path} stays`;
}

/** Makes the mailbox file with the owner that the server will ask for. @throws UsageError */
export async function makeMailbox(task: UserTask, fields: readonly string[]): Promise<void> {
  const path = mailboxOf(task);
  const owner = ownerOf(task, fields);
  try {
    const made = await createMailbox(textOption(task.options, 'spool') ?? '', task.name, owner);
    process.stdout.write(made ? `${path} created\n` : `${path} was there already, and is left as it is\n`);
  } catch (cause) {
    const errno = errnoOf(cause);
    if (errno === undefined) throw cause;
    const text = `${path}: cannot create it for uid ${owner.uid}: ${errno}`;
    const denied = errno === 'EACCES' || errno === 'EPERM';
    throw new UsageError(text, denied ? EX.NOPERM : EX.CANTCREAT, { cause });
  }
}

/** As the server finds it: the users file, else passwd(5), else who serves. */
function ownerOf({ host, name }: UserTask, [uidField, gidField]: readonly string[]) {
  const user = host.findUser(name);
  const self = effectiveUid();
  const uid = uidField ? Number(uidField) : (user?.uid ?? self);
  if (uid === 0) {
    const text = `--create-mailbox: there is no user ${name} in passwd(5), so whose it is must be said with --uid`;
    throw new UsageError(text, EX.NOUSER);
  }
  const gid = gidField ? Number(gidField) : uid === user?.uid ? user.gid : (process.getgid?.() ?? uid);
  return { uid, gid };
}

function isNumber(text: string): boolean {
  return /^[0-9]+$/.test(text);
}

function idOf(what: string, text: string | undefined, named: number | undefined): string {
  if (text === undefined && named === undefined) return '';
  const id = text !== undefined && isNumber(text) ? Number(text) : named;
  if (id === undefined) throw new UsageError(`--${what} ${text}: there is none of this name`, EX.NOUSER);
  if (id === 0 || id >= 0xffffffff)
    throw new UsageError(`--${what} ${text}: not a ${what} of a mailbox`, EX.USAGE);
  return String(id);
}

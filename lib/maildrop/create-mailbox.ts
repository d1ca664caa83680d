/**
 * Makes the empty mailbox file of a new account, for delivery agents that want to find one.
 *
 * Invariant: a file that is there, whatever it is, stays as it is: it is made by O_EXCL or not at all, and
 * never removed again, for mail may be in it the next moment.
 */
import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../errors.js';

const SET_GROUP_ID = 0o2000;
const GROUP_WRITE = 0o020;

export interface MailboxOwner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * @param spool an existing directory. One of a group, as Debian's 2775 root:mail, has files of that group
 * and mode 0660; any other, files of the user's group and 0600
 * @returns false when there was one
 * Rejects as stat(2), open(2), fchown(2) and fchmod(2) do
 */
export async function createMailbox(spool: string, user: string, owner: MailboxOwner): Promise<boolean> {
  const directory = await stat(spool);
  const ofGroup = directory.gid !== 0 && (directory.mode & (SET_GROUP_ID | GROUP_WRITE)) !== 0;
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(join(spool, user), flags, 0o600).catch((error: unknown) => {
    if (errnoOf(error) === 'EEXIST') return undefined;
    throw error;
  });
  if (file === undefined) return false;
  try {
    await file.chown(owner.uid, ofGroup ? directory.gid : owner.gid);
    // After chown(2), which clears bits.
    await file.chmod(ofGroup ? 0o660 : 0o600);
    await file.sync();
    return true;
  } finally {
    await file.close();
  }
}

/**
 * `mbox-pop3d check [USER...]`: what stands in the way of logins and deliveries, each with its remedy: the
 * mailbox files, their locks and who holds them, sessions, journals, permissions. It changes nothing, takes
 * no lock, and keeps the ids it was started with: as root it sees all, as a user their own mailbox.
 */
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readNow } from '../auth/file-snapshot.js';
import { isUserName } from '../auth/user-name.js';
import { parseUsers } from '../auth/users-lines.js';
import { type RawOptions, type Settings, settingsFrom } from '../config.js';
import { EX, errnoOf, UsageError } from '../errors.js';
import type { Finding } from '../maildrop/finding.js';
import { otherFile } from '../maildrop/other-files.js';
import type { Account } from '../pop3/ports.js';
import { mailboxOwner } from './per-user.js';
import { selfCheck } from './self-check.js';
import { nativeHost } from './serve.js';
import { modelOf } from './state-dir.js';

/** Exit code: something needs a hand. */
const TROUBLE = 1;

/** @throws UsageError EX_USAGE, EX_NOINPUT */
export async function checkCommand(raw: RawOptions, names: readonly string[]): Promise<void> {
  const wrong = names.find(name => !isUserName(name));
  if (wrong !== undefined) throw new UsageError(`${wrong}: not a user name`, EX.USAGE);
  const settings = settingsFrom({ ...raw, listen: ['127.0.0.1:0'] });
  const host = await nativeHost();
  const accounts = await accountsOf(settings);
  const [{ examine }, { nodeIo }, { userStateDir }] = await Promise.all([
    import('../maildrop/examine.js'),
    import('../maildrop/io.js'),
    import('../maildrop/user-state-dir.js'),
  ]);

  let troubles = 0;
  const tell = (findings: readonly Finding[]) => {
    for (const { what, remedy } of findings) {
      if (remedy !== undefined) troubles++;
      process.stdout.write(
        remedy === undefined ? `  ${what}\n` : `  TROUBLE: ${what}\n    remedy: ${remedy}\n`,
      );
    }
  };

  process.stdout.write(`spool ${settings.spool}, state ${settings.stateDir} (${modelIn(settings)})\n`);
  tell(
    selfCheck(settings).map(({ trouble, remedy, or }) => ({
      what: trouble,
      remedy: or ? `${remedy}; or ${or}` : remedy,
    })),
  );
  const isKnown = (name: string) => accounts.has(name) || host.findUser(name) !== undefined;
  const users = names.length > 0 ? names : mailboxesIn(settings, isKnown, tell);
  for (const user of users) {
    const owner = mailboxOwner(host, accounts.get(user)?.account ?? { user });
    process.stdout.write(`${user}:\n`);
    const stateDir = userStateDir(settings.stateDir, user);
    const { spool, runtimeDir } = settings;
    tell(await examine({ io: nodeIo, host, spool, runtimeDir, stateDir, user, owner }));
  }
  process.stdout.write(`${users.length} mailboxes, ${troubles} troubles\n`);
  if (troubles > 0) process.exitCode = TROUBLE;
}

/** The users file, which may say whose a mailbox is. */
async function accountsOf({ users: path }: Settings): Promise<ReadonlyMap<string, { account: Account }>> {
  if (path === undefined) return new Map();
  try {
    return parseUsers((await readNow(path)).content).users;
  } catch (cause) {
    if (errnoOf(cause) === undefined) throw cause;
    throw new UsageError(`users file ${path}: ${errnoOf(cause)}`, EX.NOINPUT, { cause });
  }
}

function modelIn({ stateDir }: Settings): string {
  const model = modelOf(stateDir);
  return model === undefined ? 'not used yet' : `${model} model`;
}

/** Names in the spool that are, or may be, a user's; the others are told, since no login will ever find them. */
function mailboxesIn(
  { spool }: Settings,
  isKnown: (name: string) => boolean,
  tell: (findings: readonly Finding[]) => void,
): string[] {
  let names: string[];
  try {
    names = readdirSync(spool).sort();
  } catch (error) {
    // The checks of the spool itself have told of it.
    if (['ENOENT', 'EACCES', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
  const isMailbox = (name: string) => isUserName(name) && (isKnown(name) || !otherFile(name));
  // Of a lock is told with its mailbox.
  const others = names.filter(name => !isMailbox(name) && !/\.lock$|^\..*\.lock\./.test(name));
  tell(others.map(name => describeOther(spool, name)));
  return names.filter(isMailbox);
}

function describeOther(spool: string, name: string): Finding {
  const quoted = JSON.stringify(name);
  const other = otherFile(name);
  if (other === undefined) return { what: `${quoted} is no user name: nobody can log in to it` };
  const path = join(spool, name);
  const size = other.mayHoldMail ? lstatSync(path, { throwIfNoEntry: false })?.size : 0;
  const what = `${quoted} is no mailbox: ${other.what}`;
  if (!size) return { what };
  return {
    what: `${what}, of ${size} octets`,
    remedy: `look whether it has mail that its user misses: formail -s mbox-pop3d deliver USER < ${path}; remove it then`,
  };
}

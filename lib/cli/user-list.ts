/** `user list`: who is there, without anything of the hashes. */
import { isLocked, schemeOf } from '../auth/password-field.js';
import { passwordFields } from '../auth/users-edit.js';
import { parseUsers } from '../auth/users-lines.js';
import { readUsers } from '../auth/users-store.js';
import { mailboxOf, mailboxStats } from './user-mailbox.js';
import { type UserTask, warnOfProblems } from './user-task.js';

/** One user, as `--json` prints it. */
interface ListedUser {
  readonly name: string;
  /** `-` when no password is set, `unknown` when nobody can log in with what is set. */
  readonly scheme: string;
  readonly locked: boolean;
  /** False for `pop3=no` in the last column. */
  readonly pop3: boolean;
  readonly uid: number | null;
  readonly gid: number | null;
  /** Null when there is none, or it may not be looked at. */
  readonly mailbox: { readonly path: string; readonly octets: number; readonly changed: string } | null;
}

export async function listUsers(task: UserTask): Promise<void> {
  const text = await readUsers(task.path);
  const fields = passwordFields(text);
  const users = [...parseUsers(Buffer.from(text, 'latin1')).users].map(([name, { account }]): ListedUser => {
    const field = fields.get(name) ?? '';
    const path = mailboxOf(task, name);
    const stats = mailboxStats(path);
    return {
      name,
      scheme: schemeOf(field),
      locked: isLocked(field),
      pop3: account.pop3 !== false,
      uid: account.uid ?? null,
      gid: account.gid ?? null,
      mailbox: stats === undefined ? null : { path, octets: stats.size, changed: stats.mtime.toISOString() },
    };
  });
  warnOfProblems(task.path, text);
  process.stdout.write(
    task.options.json === true ? `${JSON.stringify(users, undefined, 2)}\n` : table(users),
  );
}

function table(users: readonly ListedUser[]): string {
  const rows = users.map(({ name, scheme, locked, pop3, uid, mailbox }) => [
    name,
    scheme,
    locked ? 'locked' : pop3 ? 'open' : 'pop3=no',
    String(uid ?? '-'),
    String(mailbox?.octets ?? '-'),
    mailbox === null ? '-' : `${mailbox.changed.slice(0, 16)}Z`,
  ]);
  const all = [['NAME', 'SCHEME', 'LOGIN', 'UID', 'OCTETS', 'CHANGED'], ...rows];
  const widths = all[0]!.map((_, column) => Math.max(...all.map(row => row[column]!.length)));
  return all
    .map(
      row =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]!))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

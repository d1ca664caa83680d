/**
 * `mbox-pop3d user`: the accounts of a users file. A running server sees each change at the next login.
 *
 * Invariants: no hash and no password is ever printed; what is not about the named user stays octet for
 * octet, malformed lines included, which are warned about.
 */

import { changedField, isLocked, lockedField, unlockedField, writerFor } from '../auth/password-field.js';
import { isUserName } from '../auth/user-name.js';
import { passwordField, withoutUser, withPasswordField, withUser } from '../auth/users-edit.js';
import { editUsers, readUsers } from '../auth/users-store.js';
import type { RawOptions } from '../config.js';
import { EX, UsageError } from '../errors.js';
import { newPassword } from './password-input.js';
import { nativeHost } from './serve.js';
import { listUsers } from './user-list.js';
import { keptMailbox, makeMailbox, ownerFields } from './user-mailbox.js';
import { existing, textOption, type UserTask, warnOfProblems } from './user-task.js';
import { verifyUser } from './user-verify.js';

export type UserAction = 'add' | 'passwd' | 'lock' | 'unlock' | 'remove' | 'list' | 'verify';

/** Runs one action. @throws UsageError */
export async function userAction(action: UserAction, options: RawOptions): Promise<void> {
  const path = textOption(options, 'users');
  if (path === undefined) throw new UsageError('--users is missing', EX.USAGE);
  const name = String(options.name ?? '');
  if (action !== 'list' && !isUserName(name)) {
    throw new UsageError(`${JSON.stringify(name)}: not a user name`, EX.USAGE);
  }
  await ACTIONS[action]({ host: await nativeHost(), path, name, options });
}

const ACTIONS: Record<UserAction, (task: UserTask) => Promise<void>> = {
  add,
  passwd,
  lock: task => changeField(task, lockUser),
  unlock: task => changeField(task, unlockUser),
  remove,
  list: listUsers,
  verify: verifyUser,
};

async function add(task: UserTask): Promise<void> {
  const { host, path, name, options } = task;
  const text = await readUsers(path).catch((error: unknown) => {
    if (error instanceof UsageError && error.exitCode === EX.NOINPUT) return '';
    throw error;
  });
  // Before anybody types a password in vain.
  mustBeNew(text, name, path);
  const owner = ownerFields(task);
  const field = await newField(task);
  if (options['create-mailbox'] === true) await makeMailbox(task, owner);
  const fields = owner.length === 0 ? [name, field] : [name, field, ...owner];
  const edited = await editUsers(
    host,
    path,
    current => {
      mustBeNew(current, name, path);
      return withUser(current, fields);
    },
    true,
  );
  if (edited.created) {
    say(
      `${edited.path} created, mode 0600: give it to the group of the server, with mode 0640, if that cannot read it`,
    );
  }
  warnOfProblems(path, edited.text);
  say(`${name} added`);
}

async function passwd(task: UserTask): Promise<void> {
  const { path, name } = task;
  existing(await readUsers(path), name, path);
  const field = await newField(task);
  await changeField(task, old => {
    // A lock outlives the password it was put on: who locked the user meant the user.
    const changed = changedField(old, field);
    return [changed, isLocked(changed) ? 'password changed; still locked' : 'password changed'];
  });
}

function lockUser(old: string): Change {
  return isLocked(old) ? [old, 'was locked already'] : [lockedField(old), 'locked; mail is still delivered'];
}

function unlockUser(old: string, task: UserTask): Change {
  const field = unlockedField(old);
  if (field === undefined) {
    throw new UsageError(`${task.name} has no usable password: set one with "user passwd"`, EX.CONFIG);
  }
  return [field, field === old ? 'was not locked' : 'unlocked'];
}

async function remove(task: UserTask): Promise<void> {
  const { host, path, name } = task;
  const edited = await editUsers(host, path, text => {
    existing(text, name, path);
    return withoutUser(text, name);
  });
  warnOfProblems(path, edited.text);
  say(`${name} removed${await keptMailbox(task)}`);
}

/** The new password field, and what to say of it. */
type Change = readonly [field: string, said: string];

async function changeField(task: UserTask, change: (old: string, task: UserTask) => Change): Promise<void> {
  const { host, path, name } = task;
  let said = '';
  const edited = await editUsers(host, path, text => {
    const [field, done] = change(existing(text, name, path), task);
    said = done;
    return withPasswordField(text, name, field) ?? text;
  });
  warnOfProblems(path, edited.text);
  say(`${name} ${said}`);
}

async function newField({ host, name, options }: UserTask): Promise<string> {
  const scheme = textOption(options, 'scheme') ?? '';
  const cost = textOption(options, 'cost');
  if (cost !== undefined && !/^[0-9]{1,9}$/.test(cost)) {
    throw new UsageError(`--cost ${cost}: not a number`, EX.USAGE);
  }
  try {
    const write = writerFor(scheme, cost === undefined ? undefined : Number(cost));
    return await write(host, await newPassword(name, options.stdin === true));
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message, EX.USAGE, { cause: error });
    throw error;
  }
}

function mustBeNew(text: string, name: string, path: string): void {
  if (passwordField(text, name) !== undefined) {
    throw new UsageError(`${path}: ${name} is there already`, EX.CANTCREAT);
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

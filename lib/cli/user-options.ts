/** The `user` command as yargs knows it: its actions and their flags. What they do is in user.ts. */
import type { Argv } from 'yargs';
import { DEFAULT_SCHEME, WRITABLE_SCHEMES } from '../auth/password-field.js';
import type { OptionRow } from '../config.js';
import type { UserAction } from './user.js';

/** Beside `--users` and `--spool`, which are those of the server. */
export const USER_OPTIONS = {
  scheme: {
    type: 'string',
    describe: `how to store the password: ${[...WRITABLE_SCHEMES.keys()].join(', ')}`,
    default: DEFAULT_SCHEME,
  },
  cost: {
    type: 'string',
    describe: 'iterations, rounds or doublings of the hash',
    defaultDescription: "the scheme's",
  },
  stdin: { type: 'boolean', describe: 'the password is the first line of standard input', default: false },
  uid: { type: 'string', describe: 'owner of the mailbox file: a number, or a name of passwd(5)' },
  gid: { type: 'string', describe: "the owner's group: a number, or a name of group(5)" },
  'create-mailbox': { type: 'boolean', describe: 'make an empty mailbox file', default: false },
  json: { type: 'boolean', describe: 'for programs', default: false },
} as const satisfies Record<string, OptionRow>;

type Flag = keyof typeof USER_OPTIONS;

const PASSWORD_FLAGS = ['scheme', 'cost', 'stdin'] as const satisfies Flag[];

/** Each action: what it is for, and its own flags. */
export const USER_ACTIONS: ReadonlyMap<UserAction, readonly [describe: string, flags: readonly Flag[]]> =
  new Map([
    ['add', ['add a user', [...PASSWORD_FLAGS, 'uid', 'gid', 'create-mailbox']]],
    ['passwd', ["change a user's password", PASSWORD_FLAGS]],
    ['lock', ['refuse logins, and keep the password and the mail', []]],
    ['unlock', ['undo lock', []]],
    ['remove', ['remove a user, and keep the mailbox file', []]],
    ['list', ['show the users', ['json']]],
    ['verify', ['try a password', ['stdin']]],
  ]);

/** @param common rows of `--users` and `--spool` */
export function userCommand(yargs: Argv, common: Record<string, OptionRow>): Argv {
  let command = yargs.usage(
    '$0 user ACTION --users FILE [NAME]\n\nAccounts of a users file. See mbox-pop3d-user(8).',
  );
  for (const [action, [describe, flags]] of USER_ACTIONS) {
    const options = Object.fromEntries(
      flags.map(flag => [flag, { ...USER_OPTIONS[flag], requiresArg: USER_OPTIONS[flag].type === 'string' }]),
    );
    command = command.command(
      action === 'list' ? action : `${action} <name>`,
      describe,
      builder => builder.options({ ...common, ...options }),
      async argv => (await import('./user.js')).userAction(action, argv),
    );
  }
  return command.demandCommand(
    1,
    'an action is needed: add, passwd, lock, unlock, remove, list or verify (see --help)',
  );
}

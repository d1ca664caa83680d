/**
 * What can be seen at start to be wrong, each with its remedy, before a user finds it at login. Nothing
 * is changed; a finding is logged and serving goes on, since only some mailboxes may be concerned.
 */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { isUserName } from '../auth/user-name.js';
import type { Settings } from '../config.js';
import { errnoOf } from '../errors.js';
import { otherFile } from '../maildrop/other-files.js';

/** One trouble and what to do about it, as text for a log line. */
export interface Finding {
  readonly trouble: string;
  readonly remedy: string;
  /** Another remedy. */
  readonly or?: string;
}

/** Checks, with the ids the server will run with: the spool, the locks, and one mailbox file. */
export function selfCheck(settings: Settings): Finding[] {
  return [...checkPlaintext(settings), ...checkSpool(settings)];
}

/** Sockets that somebody else has opened are his to judge. */
function checkPlaintext({ plaintext, listen }: Settings): Finding[] {
  const seen = listen.find(({ host }) => host === undefined || !isLoopback(host));
  if (plaintext !== 'always' || seen === undefined) return [];
  return [
    {
      trouble: `passwords may be sent unencrypted to ${seen.host ?? '*'}:${seen.port}, where others can read them`,
      remedy: 'give --plaintext tls, or --plaintext local, if no client depends on it',
    },
  ];
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

function checkSpool(settings: Settings): Finding[] {
  const { spool } = settings;
  let mode: number;
  try {
    const stat = statSync(spool);
    if (!stat.isDirectory())
      return [{ trouble: `${spool} is not a directory`, remedy: 'give the spool with --spool' }];
    mode = stat.mode;
  } catch (error) {
    return [
      {
        trouble: `${spool}: ${errnoOf(error)}`,
        remedy: 'create or mount the spool, or give another with --spool',
      },
    ];
  }
  return [
    ...checkMode(spool, mode),
    ...checkLocks(settings),
    ...checkUsers(settings),
    ...checkShadow(settings),
    ...checkSaslauthd(settings),
    ...checkMailboxes(settings),
    ...checkCertificates(settings),
  ];
}

function checkMode(spool: string, mode: number): Finding[] {
  if ((mode & 0o002) === 0 || (mode & 0o1000) !== 0) return [];
  return [
    {
      trouble: `${spool} is writable by everybody and not sticky: any user can replace any mailbox`,
      remedy: `chmod 2775 ${spool} && chgrp mail ${spool}`,
    },
  ];
}

function checkLocks({ spool, locks }: Settings): Finding[] {
  if (!locks.includes('dotlock') || can(spool, constants.W_OK | constants.X_OK)) return [];
  return [
    {
      trouble: `dotlocks cannot be created in ${spool}, so every login will be refused`,
      remedy: `run with the group that may write ${spool} (--group mail), or leave dotlock out of --locks`,
    },
  ];
}

/** It was read at start, perhaps as root; it must be read again when it changes. */
function checkUsers({ users }: Settings): Finding[] {
  if (users === undefined || can(users, constants.R_OK)) return [];
  return [
    {
      trouble: `${users} cannot be read any more, so logins fail as soon as it changes`,
      remedy: `let the group of the server read it: chgrp and chmod 0640 ${users}, and its directories 0750`,
    },
  ];
}

/** As root it could be read; once root is given up, it takes its group. */
function checkShadow({ auth }: Settings): Finding[] {
  if (!auth.includes('system') || can('/etc/shadow', constants.R_OK)) return [];
  return [
    {
      trouble: '/etc/shadow cannot be read, so nobody of the system can log in',
      remedy: 'make the user of the server a member of group shadow: adduser mbox-pop3d shadow',
      or: 'serve with mbox-pop3d-per-user.socket or inetd nowait, or ask saslauthd with --auth saslauthd',
    },
  ];
}

/** They were read at start, perhaps as root; they must be read again when they are renewed. */
function checkCertificates({ certificates }: Settings): Finding[] {
  const files = certificates.flatMap(({ cert, key }) => [cert, key]);
  const unreadable = files.find(file => !can(file, constants.R_OK));
  if (unreadable === undefined) return [];
  return [
    {
      trouble: `${unreadable} cannot be read any more, so that a renewed one needs a restart`,
      remedy: 'restart from the renewal hook, or let the hook copy it to where our user may read it',
    },
  ];
}

function checkSaslauthd({ auth, outside: { saslauthdSocket: socket } }: Settings): Finding[] {
  if (!auth.includes('saslauthd')) return [];
  // It may be started later.
  if (!existsSync(dirname(socket))) {
    return [
      { trouble: `no ${socket}`, remedy: 'start saslauthd, or say where it is with --saslauthd-socket' },
    ];
  }
  if (can(dirname(socket), constants.X_OK)) return [];
  return [
    {
      trouble: `${dirname(socket)} is closed to us, so saslauthd cannot be asked`,
      remedy: 'make the user of the server a member of its group: adduser mbox-pop3d sasl',
    },
  ];
}

/**
 * Exim's appendfile has `group` and `mode`; Postfix creates mailboxes 0600 and has no setting for it. Two
 * texts, because the log cuts long ones.
 */
const MAILBOX_REMEDIES = {
  remedy: 'chgrp mail, chmod 0660, and have the delivery agent create mailboxes so (Exim: mode = 0660)',
  or: 'for 0600 (Postfix): CAP_DAC_OVERRIDE as in mbox-pop3d.service, or mbox-pop3d-per-user.socket, or inetd nowait',
};

/** The first mailbox file that we could not use. */
function checkMailboxes({ spool, readOnly }: Settings): Finding[] {
  let names: string[];
  try {
    names = readdirSync(spool);
  } catch (error) {
    // Search permission is enough to serve; listing is only for this check.
    if (errnoOf(error) === 'EACCES') return [];
    throw error;
  }
  for (const name of names.filter(name => isUserName(name) && !otherFile(name))) {
    const path = join(spool, name);
    try {
      if (!lstatSync(path).isFile()) continue;
      closeSync(openSync(path, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NOFOLLOW));
    } catch (error) {
      if (errnoOf(error) !== 'EACCES') continue;
      return [
        {
          trouble: `mailbox ${path} cannot be opened${readOnly ? '' : ' for writing'}`,
          ...MAILBOX_REMEDIES,
        },
      ];
    }
  }
  return [];
}

function can(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch (error) {
    if (['EACCES', 'EROFS', 'ENOENT'].includes(errnoOf(error) ?? '')) return false;
    throw error;
  }
}

/**
 * The lines of a users file, in the form of Dovecot's passwd-file:
 * `name:password[:uid:gid:gecos:home:shell:extra]`; empty lines and lines that begin with `#` are skipped.
 *
 * Invariant: a malformed line is named and harms nobody else; but the name in it stays taken, so that a
 * second line of the same user never comes to life because the first was broken.
 */
import type { Account } from '../pop3/ports.js';
import type { UserEntry } from './credentials.js';
import { readSecret, type Secret } from './secret.js';
import { isUserName } from './user-name.js';
import { type Extra, readExtra } from './users-extra.js';

export interface LineProblem {
  /** 1-based. */
  readonly line: number;
  /** One line of text without anything of the password field. */
  readonly reason: string;
}

export interface UsersLines {
  readonly users: ReadonlyMap<string, UserEntry>;
  readonly problems: readonly LineProblem[];
}

/** Reads the content of a users file. Total: whatever it is, the well-formed lines count. */
export function parseUsers(content: Uint8Array): UsersLines {
  const users = new Map<string, UserEntry>();
  const problems: LineProblem[] = [];
  // latin1: one character per octet; a password has no charset.
  const lines = Buffer.from(content.buffer, content.byteOffset, content.length)
    .toString('latin1')
    .split('\n');
  for (const [index, text] of lines.entries()) {
    const line = text.endsWith('\r') ? text.slice(0, -1) : text;
    if (/^\s*(#|$)/.test(line)) continue;
    const report = (reason: string) => problems.push({ line: index + 1, reason });
    const [name = '', field, uid = '', gid = '', , , , ...extra] = line.split(':');
    if (!isUserName(name)) report('not a user name before the first colon');
    else if (users.has(name)) report(`user ${name} is there already; the first line counts`);
    else users.set(name, readLine({ user: name, field, uid, gid, extra: extra.join(':') }, report));
  }
  return { users, problems };
}

interface Columns {
  readonly user: string;
  readonly field: string | undefined;
  readonly uid: string;
  readonly gid: string;
  /** All that is left, with its colons: networks may have them. */
  readonly extra: string;
}

function readLine({ user, field, uid, gid, extra }: Columns, report: (reason: string) => void): UserEntry {
  const broken = (reason: string): UserEntry => {
    report(reason);
    return { account: { user }, secret: { kind: 'unknown', reason } };
  };
  if (field === undefined) return broken('no colon and password after the name');
  for (const [what, id] of [
    ['uid', uid],
    ['gid', gid],
  ] as const) {
    if (id !== '' && !isId(id)) return broken(`${what} is not a number`);
    if (Number(id) === 0 && id !== '') return broken(`${what} 0 is not allowed`);
  }
  let access: Extra;
  try {
    access = readExtra(extra);
  } catch (error) {
    return broken(error instanceof Error ? error.message : String(error));
  }
  const account: Account = {
    user,
    ...(uid === '' ? {} : { uid: Number(uid) }),
    ...(gid === '' ? {} : { gid: Number(gid) }),
    ...access,
  };
  const secret: Secret = readSecret(field);
  if (secret.kind === 'unknown') report(secret.reason);
  return { account, secret };
}

/** 32 bits, less the highest value, which stands for "no id". */
function isId(text: string): boolean {
  return /^[0-9]{1,10}$/.test(text) && Number(text) < 0xffffffff;
}

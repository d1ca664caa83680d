/** What the actions of `user` have in common. */

import { passwordField } from '../auth/users-edit.js';
import { parseUsers } from '../auth/users-lines.js';
import type { RawOptions } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';

/** What every action works on. */
export interface UserTask {
  readonly host: Host;
  /** The users file. */
  readonly path: string;
  readonly name: string;
  readonly options: RawOptions;
}

/** Lines of a users file that are warned about; one that is none has thousands. */
const MAX_WARNINGS = 20;

/** The text of a flag, or undefined. @throws UsageError when it is given twice */
export function textOption(options: RawOptions, name: string): string | undefined {
  const value = options[name];
  if (Array.isArray(value)) throw new UsageError(`--${name} is given more than once`, EX.USAGE);
  return value === undefined || value === '' ? undefined : String(value);
}

/** Names the malformed lines, without anything of their passwords. */
export function warnOfProblems(path: string, text: string): void {
  const { problems } = parseUsers(Buffer.from(text, 'latin1'));
  for (const { line, reason } of problems.slice(0, MAX_WARNINGS)) {
    process.stderr.write(`mbox-pop3d: warning: ${path}:${line}: ${reason}\n`);
  }
  if (problems.length > MAX_WARNINGS) {
    process.stderr.write(`mbox-pop3d: warning: ${path}: ${problems.length - MAX_WARNINGS} more such lines\n`);
  }
}

/** The password field. @throws UsageError EX_NOUSER */
export function existing(text: string, name: string, path: string): string {
  const field = passwordField(text, name);
  if (field === undefined) throw new UsageError(`${path}: no user ${name}`, EX.NOUSER);
  return field;
}

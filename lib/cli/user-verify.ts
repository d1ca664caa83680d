/** `user verify`: tries a password as the server would, and says at which stage it ends. */
import { comparePassword } from '../auth/password.js';
import { parseUsers } from '../auth/users-lines.js';
import { readUsers } from '../auth/users-store.js';
import { EX, Unavailable, UsageError } from '../errors.js';
import { anyPassword } from './password-input.js';
import { existing, type UserTask } from './user-task.js';

/**
 * @throws UsageError EX_NOUSER for an unknown user, EX_UNAVAILABLE for one who is locked or has pop3=no, EX_CONFIG for one whose
 * line is no good, EX_NOPERM for a wrong password, EX_TEMPFAIL when it cannot be told
 */
export async function verifyUser({ host, path, name, options }: UserTask): Promise<void> {
  const text = await readUsers(path);
  existing(text, name, path);
  const entry = parseUsers(Buffer.from(text, 'latin1')).users.get(name);
  if (entry?.account.pop3 === false) throw new UsageError(`${name}: pop3=no`, EX.UNAVAILABLE);
  const { secret } = entry ?? { secret: { kind: 'unknown', reason: 'malformed line' } as const };
  if (secret.kind === 'locked') throw new UsageError(`${name}: ${secret.reason}`, EX.UNAVAILABLE);
  if (secret.kind === 'unknown') throw new UsageError(`${name}: ${secret.reason}`, EX.CONFIG);
  const password = await anyPassword(name, options.stdin === true);
  const result = await comparePassword(host, password, secret).catch((cause: unknown) => {
    if (!(cause instanceof Unavailable)) throw cause;
    const reason = cause.cause instanceof Error ? cause.cause.message : cause.message;
    throw new UsageError(`${name}: ${reason}`, EX.TEMPFAIL, { cause });
  });
  if (result === 'wrong') throw new UsageError(`${name}: wrong password`, EX.NOPERM);
  if (result === 'unusable') throw new UsageError(`${name}: unusable password hash`, EX.CONFIG);
  process.stdout.write(`${name}: the password is right\n`);
}

/** Who may log in, and who is asked for passwords. */
import { isUserName } from '../auth/user-name.js';
import { EX, UsageError } from '../errors.js';
import { count, type RawOptions, required, seconds, text, words } from './raw-options.js';
import { AUTH_BACKENDS, type AuthBackend, type OutsideSettings } from './settings.js';

/** A name that nobody can have would deny nobody. */
export function userNames(raw: RawOptions, name: 'allow-users' | 'deny-users'): string[] {
  const names = words(raw, name);
  const wrong = names.find(item => !isUserName(item));
  if (wrong !== undefined) throw new UsageError(`--${name} ${wrong}: not a user name`, EX.USAGE);
  return names;
}

export function backends(raw: RawOptions): { users: string | undefined; auth: AuthBackend[] } {
  const users = text(raw, 'users');
  const names = (text(raw, 'auth') ?? (users === undefined ? 'system' : 'users')).split(/[\s,]+/);
  const auth = AUTH_BACKENDS.filter(backend => names.includes(backend));
  const unknown = names.find(name => !AUTH_BACKENDS.some(backend => backend === name));
  if (unknown !== undefined) {
    throw new UsageError(`--auth ${unknown}: choose of ${AUTH_BACKENDS.join(',')}`, EX.USAGE);
  }
  if (auth.includes('users') && (users === undefined || users === '')) {
    throw new UsageError('--users is missing', EX.USAGE);
  }
  if (auth.includes('checkpassword')) required(raw, 'checkpassword');
  return { users, auth: auth.sort((a, b) => names.indexOf(a) - names.indexOf(b)) };
}

export function outside(raw: RawOptions): OutsideSettings {
  const pamService = required(raw, 'pam-service');
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(pamService)) {
    throw new UsageError(`--pam-service ${pamService}: not the name of a file in /etc/pam.d`, EX.USAGE);
  }
  const checkpassword = (text(raw, 'checkpassword') ?? '').split(' ').filter(word => word !== '');
  const [program] = checkpassword;
  if (program !== undefined && !program.startsWith('/')) {
    throw new UsageError(`--checkpassword ${program}: not an absolute path`, EX.USAGE);
  }
  return {
    timeout: seconds(raw, 'auth-timeout', 1),
    atOnce: count(raw, 'auth-at-once'),
    pamService,
    saslauthdSocket: required(raw, 'saslauthd-socket'),
    checkpassword,
  };
}

/**
 * The settings: what flags, environment and defaults say, made values here (`settingsFrom`). Every option is a row of
 * `config/options.ts`; durations are seconds on the outside and milliseconds inside.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { backends, outside, userNames } from './config/accounts.js';
import { tlsSettings } from './config/listening.js';
import { count, flag, type RawOptions, required, seconds, text, words } from './config/raw-options.js';
import { KERNELS, type KernelChoice, type Settings } from './config/settings.js';
import { EX, UsageError } from './errors.js';
import type { Level } from './log.js';
import { LOCK_METHODS, type LockMethod } from './maildrop/lock-methods.js';
import { BadNetwork, Networks } from './networks.js';
import { MECHANISMS, type Mechanism, PLAINTEXT, type Plaintext } from './pop3/mechanisms.js';

export { DELIVER_OPTIONS, fromEnvironment, OPTIONS, type OptionRow } from './config/options.js';
export type { RawOptions } from './config/raw-options.js';
export type { AuthBackend, KernelChoice, Settings } from './config/settings.js';

/** Turns flags into settings. @throws UsageError naming the flag that is wrong */
export function settingsFrom(raw: RawOptions): Settings {
  const stateDir = text(raw, 'state-dir') ?? process.env.STATE_DIRECTORY ?? '/var/lib/mbox-pop3d';
  const runtimeDir =
    text(raw, 'runtime-dir') ??
    (text(raw, 'state-dir') === undefined
      ? (process.env.RUNTIME_DIRECTORY ?? '/run/mbox-pop3d')
      : join(stateDir, 'run'));
  return {
    ...tlsSettings(raw),
    workers: workers(raw),
    workerTimeout: seconds(raw, 'worker-timeout', 1),
    spool: required(raw, 'spool'),
    ...backends(raw),
    minUid: count(raw, 'min-uid'),
    authCache: seconds(raw, 'auth-cache', 0),
    outside: outside(raw),
    readOnly: flag(raw, 'read-only'),
    stateDir,
    runtimeDir,
    indexCache: indexCache(raw),
    user: text(raw, 'user'),
    group: text(raw, 'group'),
    locks: locks(raw),
    lockYield: text(raw, 'lock-yield') === 'never' ? Number.POSITIVE_INFINITY : seconds(raw, 'lock-yield', 0),
    lockTimeout: seconds(raw, 'lock-timeout', 0),
    takeover: text(raw, 'takeover') === 'never' ? 0 : seconds(raw, 'takeover', 0),
    loginTimeout: seconds(raw, 'login-timeout', 1),
    // RFC 1939 §3: an autologout timer must be of at least 10 minutes.
    idleTimeout: seconds(raw, 'idle-timeout', 600),
    failureDelay: seconds(raw, 'failure-delay', 0),
    maxFailureDelay: seconds(raw, 'max-failure-delay', 0),
    maxWaitingLogins: count(raw, 'max-waiting-logins'),
    maxLoginFailures: count(raw, 'max-login-failures'),
    // A login that takes over a silent session is a second one, for a moment.
    maxConnectionsPerUser: count(raw, 'max-connections-per-user', 2),
    allowUsers: userNames(raw, 'allow-users'),
    denyUsers: userNames(raw, 'deny-users'),
    allowNets: networks(raw, 'allow-nets'),
    denyNets: networks(raw, 'deny-nets'),
    proxyNets: networks(raw, 'proxy-nets'),
    idleExit: seconds(raw, 'idle-exit', 0),
    maxConnections: count(raw, 'max-connections'),
    maxConnectionsPerAddress: count(raw, 'max-connections-per-address'),
    backlog: count(raw, 'backlog'),
    maxBadCommands: count(raw, 'max-bad-commands'),
    maxBadCommandsBeforeLogin: count(raw, 'max-bad-commands-before-login'),
    apop: flag(raw, 'apop'),
    last: flag(raw, 'last'),
    plaintext: plaintext(raw),
    saslMechanisms: saslMechanisms(raw),
    kernel: kernel(raw),
    logLevel: logLevel(raw),
  };
}

function networks(raw: RawOptions, name: 'allow-nets' | 'deny-nets' | 'proxy-nets'): string[] {
  const list = words(raw, name);
  try {
    new Networks(list);
  } catch (cause) {
    if (!(cause instanceof BadNetwork)) throw cause;
    throw new UsageError(`--${name} ${cause.message}`, EX.USAGE, { cause });
  }
  return list;
}

/** More would only be a slip of the hand. */
const MOST_WORKERS = 256;

function workers(raw: RawOptions): number {
  if (text(raw, 'workers') === 'auto') return availableParallelism();
  const value = count(raw, 'workers');
  if (value > MOST_WORKERS) throw new UsageError(`--workers ${value}: more than ${MOST_WORKERS}`, EX.USAGE);
  return value;
}

/** KiB, or `no`; octets, or Infinity. */
function indexCache(raw: RawOptions): number {
  const value = text(raw, 'index-cache') ?? '';
  if (value === 'no') return Number.POSITIVE_INFINITY;
  if (!/^(0|[1-9][0-9]{0,9})$/.test(value)) {
    throw new UsageError(`--index-cache ${value}: neither a number of KiB nor no`, EX.USAGE);
  }
  return 1024 * Number(value);
}

function locks(raw: RawOptions): LockMethod[] {
  const names = required(raw, 'locks')
    .split(/[\s,]+/)
    .filter(name => name !== '');
  const methods = LOCK_METHODS.filter(method => names.includes(method));
  const unknown = names.find(name => !LOCK_METHODS.some(method => method === name));
  if (unknown !== undefined || methods.length === 0) {
    throw new UsageError(`--locks ${unknown ?? ''}: choose of ${LOCK_METHODS.join(',')}`, EX.USAGE);
  }
  return methods;
}

function plaintext(raw: RawOptions): Plaintext {
  const value = required(raw, 'plaintext');
  const known = PLAINTEXT.find(name => name === value);
  if (known === undefined)
    throw new UsageError(`--plaintext ${value}: choose of ${PLAINTEXT.join()}`, EX.USAGE);
  return known;
}

function saslMechanisms(raw: RawOptions): 'auto' | Mechanism[] {
  const value = required(raw, 'sasl-mechanisms');
  if (value === 'auto') return value;
  if (value === 'none') return [];
  const names = value.split(/[\s,]+/).filter(name => name !== '');
  return names.map(name => {
    const known = MECHANISMS.find(mechanism => mechanism === name.toUpperCase());
    if (known !== undefined) return known;
    throw new UsageError(`--sasl-mechanisms ${name}: choose of ${MECHANISMS.join()}, none, auto`, EX.USAGE);
  });
}

function kernel(raw: RawOptions): KernelChoice {
  const value = required(raw, 'kernel');
  const choice = KERNELS.find(name => name === value);
  if (choice === undefined) {
    throw new UsageError(`--kernel ${value}: choose of ${KERNELS.join(', ')}`, EX.USAGE);
  }
  return choice;
}

function logLevel(raw: RawOptions): Level {
  const value = required(raw, 'log-level');
  if (value === 'error' || value === 'warn' || value === 'info' || value === 'debug') return value;
  throw new UsageError(`--log-level ${value}: choose of error, warn, info, debug`, EX.USAGE);
}

/** What the library starts from: limits out of the way of a test, everything else as the daemon. */
export const LIBRARY_DEFAULTS = {
  readOnly: false,
  indexCache: 256 * 1024,
  locks: ['dotlock', 'fcntl'],
  lockYield: 15_000,
  lockTimeout: 20_000,
  takeover: 60_000,
  loginTimeout: 60_000,
  idleTimeout: 600_000,
  failureDelay: 0,
  handshakeTimeout: 30_000,
  tlsMin: 'TLSv1.2',
  maxFailureDelay: 0,
  maxWaitingLogins: 10_000,
  maxLoginFailures: 10_000,
  maxConnectionsPerUser: 10_000,
  allowNets: [],
  denyNets: [],
  apop: false,
  last: false,
  plaintext: 'always',
  saslMechanisms: 'auto',
  kernel: 'auto',
  maxConnections: 10_000,
  maxConnectionsPerAddress: 10_000,
  maxBadCommands: 20,
  maxBadCommandsBeforeLogin: 3,
} as const;

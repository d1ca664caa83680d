/**
 * Every setting, once: its name (the same as a flag, as `MBOX_POP3D_*` in the environment, and in the
 * man page), what it means, its default, and how its text becomes a value. Durations are seconds on the
 * outside and milliseconds inside.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { SecureVersion } from 'node:tls';
import { isUserName } from './auth/user-name.js';
import { EX, UsageError } from './errors.js';
import type { Level } from './log.js';
import { LOCK_METHODS, type LockMethod } from './maildrop/lock-methods.js';
import { BadNetwork, Networks } from './networks.js';
import { MECHANISMS, type Mechanism, PLAINTEXT, type Plaintext } from './pop3/mechanisms.js';
import type { CertificateFiles } from './tls/pem-files.js';

/** Where accounts come from. */
const AUTH_BACKENDS = ['users', 'system', 'pam', 'saslauthd', 'checkpassword'] as const;
export type AuthBackend = (typeof AUTH_BACKENDS)[number];

/** With what mailboxes are read: `wasm` insists on the fast way, `auto` does without where it must. */
const KERNELS = ['auto', 'wasm', 'typescript'] as const;
export type KernelChoice = (typeof KERNELS)[number];

/** The least version of TLS, as the sysadmin writes it, and as OpenSSL calls it. */
const TLS_VERSIONS: ReadonlyMap<string, SecureVersion> = new Map([
  ['1.0', 'TLSv1'],
  ['1.1', 'TLSv1.1'],
  ['1.2', 'TLSv1.2'],
  ['1.3', 'TLSv1.3'],
]);

/** Where to listen. Port 0 lets the system choose. */
export interface ListenAddress {
  /** Numeric or a host name; undefined for all addresses, IPv6 and IPv4. */
  readonly host: string | undefined;
  readonly port: number;
  /** The least version of TLS here; undefined for that of `--tls-min`. */
  readonly tlsMin: SecureVersion | undefined;
}

/** Backends that are not in this process. */
export interface OutsideSettings {
  /** Milliseconds for one answer. */
  readonly timeout: number;
  /** How many are asked at a time, each. */
  readonly atOnce: number;
  readonly pamService: string;
  readonly saslauthdSocket: string;
  /** An absolute path and arguments; empty when `auth` does not ask for it. */
  readonly checkpassword: readonly string[];
}

export interface Settings {
  readonly listen: readonly ListenAddress[];
  readonly tlsListen: readonly ListenAddress[];
  readonly certificates: readonly CertificateFiles[];
  /** Whether a socket of inetd or systemd speaks TLS from the first octet; undefined when its name or port says. */
  readonly tls: boolean | undefined;
  readonly tlsMin: SecureVersion;
  readonly handshakeTimeout: number;
  /** Processes that serve clients. */
  readonly workers: number;
  /** How long one of them may be silent, in ms. */
  readonly workerTimeout: number;
  readonly spool: string;
  /** Undefined when `auth` does not ask for it. */
  readonly users: string | undefined;
  readonly auth: readonly AuthBackend[];
  readonly minUid: number;
  /** Milliseconds; 0 for no cache. */
  readonly authCache: number;
  readonly outside: OutsideSettings;
  readonly readOnly: boolean;
  readonly stateDir: string;
  readonly runtimeDir: string;
  /** Octets; Infinity for no cache. */
  readonly indexCache: number;
  readonly user: string | undefined;
  readonly group: string | undefined;
  readonly locks: readonly LockMethod[];
  /** Milliseconds; Infinity for `never`. */
  readonly lockYield: number;
  readonly lockTimeout: number;
  /** Milliseconds; 0 for never. */
  readonly takeover: number;
  readonly loginTimeout: number;
  readonly idleTimeout: number;
  readonly failureDelay: number;
  /** Milliseconds; 0 for none. */
  readonly maxFailureDelay: number;
  readonly maxWaitingLogins: number;
  readonly maxLoginFailures: number;
  readonly maxConnectionsPerUser: number;
  /** Empty for all users. */
  readonly allowUsers: readonly string[];
  readonly denyUsers: readonly string[];
  /** Empty for all networks. */
  readonly allowNets: readonly string[];
  readonly denyNets: readonly string[];
  /** Who connects from these must say for whom, by the PROXY protocol. */
  readonly proxyNets: readonly string[];
  /** Milliseconds; 0 for never. */
  readonly idleExit: number;
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly backlog: number;
  readonly maxBadCommands: number;
  readonly maxBadCommandsBeforeLogin: number;
  readonly apop: boolean;
  readonly last: boolean;
  readonly plaintext: Plaintext;
  readonly saslMechanisms: 'auto' | readonly Mechanism[];
  readonly kernel: KernelChoice;
  readonly logLevel: Level;
}

/** An option as yargs wants it, so that `--help` and the parser cannot disagree. */
export interface OptionRow {
  readonly type: 'string' | 'boolean' | 'array';
  readonly describe: string;
  readonly default?: string | boolean | readonly string[];
  readonly defaultDescription?: string;
}

const DEFAULT_LISTEN: ListenAddress = { host: '127.0.0.1', port: 1110, tlsMin: undefined };

/** The flags of `serve`; `demo` takes those that make sense there. */
export const OPTIONS = {
  listen: {
    type: 'array',
    describe: 'ADDRESS:PORT to listen on; repeatable; [::1]:110 for IPv6, *:110 for all',
    defaultDescription: '127.0.0.1:1110, or nothing if --tls-listen is given',
  },
  'tls-listen': {
    type: 'array',
    describe: 'ADDRESS:PORT to listen on for TLS from the first octet; *:995/1.0 for TLS 1.0 and later there',
  },
  'tls-cert': { type: 'array', describe: 'PEM file of a certificate with its chain; repeatable, for SNI' },
  'tls-key': {
    type: 'array',
    describe: 'PEM file of its private key; in the same order',
    defaultDescription: 'in the file of the certificate',
  },
  'tls-min': { type: 'string', describe: 'least version of TLS: 1.0, 1.1, 1.2 or 1.3', default: '1.2' },
  tls: {
    type: 'boolean',
    describe: 'the socket given by inetd or systemd speaks TLS from the first octet',
    defaultDescription: 'if it is named pop3s, or of port 995',
  },
  workers: {
    type: 'string',
    describe: 'processes that serve clients; auto for one a processor',
    default: '1',
  },
  'worker-timeout': {
    type: 'string',
    describe: 'seconds after which one of them that does not answer is killed',
    default: '60',
  },
  'handshake-timeout': {
    type: 'string',
    describe: 'seconds a TLS handshake, or a PROXY header, may take',
    default: '30',
  },
  spool: { type: 'string', describe: 'directory of the mailbox files', default: '/var/spool/mail' },
  users: { type: 'string', describe: 'users file: NAME:PASSWORD[:UID:GID]' },
  auth: {
    type: 'string',
    describe: `who may log in: ${AUTH_BACKENDS.join(',')}, in the order asked`,
    defaultDescription: 'users if --users is given, else system',
  },
  'min-uid': { type: 'string', describe: 'least uid of a system account that may log in', default: '1000' },
  'auth-cache': {
    type: 'string',
    describe: 'seconds for which a right password is not hashed again; 0 for never',
    default: '900',
  },
  'pam-service': { type: 'string', describe: 'service name for PAM', default: 'mbox-pop3d' },
  'saslauthd-socket': {
    type: 'string',
    describe: 'socket of saslauthd',
    default: '/run/saslauthd/mux',
  },
  checkpassword: { type: 'string', describe: 'checkpassword program: its path and arguments' },
  'auth-timeout': {
    type: 'string',
    describe: 'seconds for an answer of PAM, saslauthd or checkpassword',
    default: '15',
  },
  'auth-at-once': {
    type: 'string',
    describe: 'how many passwords PAM, saslauthd or checkpassword check at a time',
    default: '4',
  },
  'read-only': { type: 'boolean', describe: 'refuse DELE, never rewrite a mailbox', default: false },
  'state-dir': {
    type: 'string',
    describe: 'what must survive a restart',
    defaultDescription: '/var/lib/mbox-pop3d',
  },
  'runtime-dir': {
    type: 'string',
    describe: 'session locks',
    defaultDescription: 'STATE-DIR/run, or /run/mbox-pop3d',
  },
  'index-cache': {
    type: 'string',
    describe: 'KiB of the smallest mailbox whose index is kept for the next session; no for none',
    default: '256',
  },
  user: {
    type: 'string',
    describe: 'whom to become when started as root',
    defaultDescription: 'mbox-pop3d, else the owner of the spool',
  },
  group: { type: 'string', describe: 'with which group', defaultDescription: 'mail' },
  locks: {
    type: 'string',
    describe: `mailbox locks to take, of ${LOCK_METHODS.join(',')}`,
    default: 'dotlock,fcntl',
  },
  'lock-timeout': { type: 'string', describe: 'seconds to try for the mailbox locks', default: '20' },
  'lock-yield': {
    type: 'string',
    describe: 'seconds after which a session lets deliveries in; 0, or never',
    default: '15',
  },
  takeover: {
    type: 'string',
    describe: 'seconds of silence after which a new login of the user ends a session; 0, or never',
    default: '60',
  },
  'login-timeout': { type: 'string', describe: 'seconds a client has to log in', default: '60' },
  'idle-timeout': { type: 'string', describe: 'seconds without a command, at least 600', default: '600' },
  'failure-delay': { type: 'string', describe: 'seconds until a failed login is answered', default: '1' },
  'max-failure-delay': {
    type: 'string',
    describe: 'most seconds that a login waits after others have failed; 0 for no such wait',
    default: '15',
  },
  'max-waiting-logins': {
    type: 'string',
    describe: 'logins from one address that may wait so at a time',
    default: '10',
  },
  'max-login-failures': { type: 'string', describe: 'failed logins that end a connection', default: '5' },
  'allow-users': { type: 'string', describe: 'the only users who may log in, separated by commas' },
  'deny-users': { type: 'string', describe: 'users who may not log in, separated by commas' },
  'allow-nets': { type: 'string', describe: 'the only networks that are served, such as 192.0.2.0/24,::1' },
  'deny-nets': { type: 'string', describe: 'networks that are not served' },
  'proxy-nets': {
    type: 'string',
    describe: 'networks of front ends, which must say who the client is by the PROXY protocol',
  },
  'max-connections': { type: 'string', describe: 'connections in all', default: '500' },
  'max-connections-per-address': {
    type: 'string',
    describe: 'connections from one address',
    default: '50',
  },
  backlog: {
    type: 'string',
    describe: 'connections that the system keeps until they are accepted',
    default: '511',
  },
  'max-bad-commands': {
    type: 'string',
    describe: 'bad commands in a row that end a connection',
    default: '20',
  },
  'max-bad-commands-before-login': {
    type: 'string',
    describe: 'commands in a row, before the login, that POP3 does not know, that end a connection',
    default: '3',
  },
  'max-connections-per-user': {
    type: 'string',
    describe: 'connections of one user, those included that wait for the mailbox; at least 2',
    default: '10',
  },
  'idle-exit': {
    type: 'string',
    describe: 'seconds without a client after which a server started by inetd or systemd leaves; 0 for never',
    default: '60',
  },
  apop: { type: 'boolean', describe: 'offer APOP (needs {PLAIN} passwords)', default: false },
  plaintext: {
    type: 'string',
    describe: `where passwords may be sent unencrypted: ${PLAINTEXT.join(', ')}`,
    default: 'always',
  },
  'sasl-mechanisms': {
    type: 'string',
    describe: `mechanisms of AUTH, of ${MECHANISMS.join(',')}; none; auto for those all users can use`,
    default: 'auto',
  },
  last: { type: 'boolean', describe: 'offer LAST (RFC 1081)', default: false },
  kernel: {
    type: 'string',
    describe: `how mailboxes are gone through: ${KERNELS.join(', ')}`,
    default: 'auto',
  },
  'log-level': { type: 'string', describe: 'error, warn, info or debug', default: 'info' },
} as const satisfies Record<string, OptionRow>;

/** The flags of `deliver`. */
export const DELIVER_OPTIONS = {
  from: {
    type: 'string',
    describe: 'sender of the envelope (also -f); empty for bounces',
    defaultDescription: 'as the From_ line of the message, if it has one',
  },
  quote: {
    type: 'string',
    describe: 'how lines that begin with From are quoted: mboxo or mboxrd',
    default: 'mboxo',
  },
  spool: OPTIONS.spool,
  users: OPTIONS.users,
  'state-dir': OPTIONS['state-dir'],
  group: OPTIONS.group,
  locks: OPTIONS.locks,
  'lock-timeout': OPTIONS['lock-timeout'],
  'log-level': OPTIONS['log-level'],
} as const satisfies Record<string, OptionRow>;

/** What `MBOX_POP3D_*` says of a flag; a list is separated by blanks or commas. */
export function fromEnvironment(name: string, row: OptionRow): string | boolean | string[] | undefined {
  const variable = `MBOX_POP3D_${name.toUpperCase().replaceAll('-', '_')}`;
  const value = process.env[variable];
  if (value === undefined || value === '') return undefined;
  if (row.type === 'array') return value.split(/[\s,]+/).filter(item => item !== '');
  if (row.type === 'string') return value;
  if (!['true', 'false'].includes(value)) throw new UsageError(`${variable}: not true or false`, EX.USAGE);
  return value === 'true';
}

/** What yargs makes of the flags: text and booleans, under the names of `OPTIONS`. */
export type RawOptions = { readonly [name: string]: unknown };

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

/** `127.0.0.1:110`, `[::1]:110`, `localhost:110`, `*:110`, `:110` or `110`; with `/1.0`, TLS 1.0 will do. */
export function parseListenAddress(value: string, flag = 'listen'): ListenAddress {
  const match = /^(?:\[([0-9A-Fa-f:.]+(?:%[0-9A-Za-z]+)?)\]:|([^:/[\]\s]*):)?([0-9]{1,5})(?:\/(.*))?$/.exec(
    value,
  );
  const port = Number(match?.[3]);
  if (match === null || port > 65535) {
    throw new UsageError(`--${flag} ${value}: not ADDRESS:PORT (IPv6 as [::1]:110)`, EX.USAGE);
  }
  const host = match[1] ?? match[2];
  return {
    host: host === undefined || host === '' || host === '*' ? undefined : host,
    port,
    tlsMin: match[4] === undefined ? undefined : tlsVersion(`--${flag} ${value}`, match[4]),
  };
}

function tlsVersion(where: string, value: string): SecureVersion {
  const version = TLS_VERSIONS.get(value);
  if (version !== undefined) return version;
  throw new UsageError(
    `${where}: no version of TLS: choose of ${[...TLS_VERSIONS.keys()].join(', ')}`,
    EX.USAGE,
  );
}

function tlsSettings(
  raw: RawOptions,
): Pick<Settings, 'listen' | 'tlsListen' | 'certificates' | 'tls' | 'tlsMin' | 'handshakeTimeout'> {
  const tlsListen = list(raw, 'tls-listen').map(value => parseListenAddress(value, 'tls-listen'));
  const listen = list(raw, 'listen').map(value => parseListenAddress(value));
  const [certs, keys] = [list(raw, 'tls-cert'), list(raw, 'tls-key')];
  if (keys.length > 0 && keys.length !== certs.length) {
    throw new UsageError(`${certs.length} of --tls-cert, but ${keys.length} of --tls-key`, EX.USAGE);
  }
  const tls = given(raw, 'tls') === undefined ? undefined : flag(raw, 'tls');
  if (certs.length === 0 && (tlsListen.length > 0 || tls === true)) {
    throw new UsageError('--tls-cert is missing', EX.USAGE);
  }
  return {
    listen: listen.length > 0 || tlsListen.length > 0 ? listen : [DEFAULT_LISTEN],
    tlsListen,
    certificates: certs.map((cert, i) => ({ cert, key: keys[i] ?? cert })),
    tls,
    tlsMin: tlsVersion('--tls-min', required(raw, 'tls-min')),
    handshakeTimeout: seconds(raw, 'handshake-timeout', 1),
  };
}

/** The flag as given, else its default. */
function given(raw: RawOptions, name: keyof typeof OPTIONS): unknown {
  const row: OptionRow = OPTIONS[name];
  return raw[name] ?? row.default;
}

function text(raw: RawOptions, name: keyof typeof OPTIONS): string | undefined {
  const value = given(raw, name);
  if (Array.isArray(value)) throw new UsageError(`--${name} is given more than once`, EX.USAGE);
  return value === undefined ? undefined : String(value);
}

function required(raw: RawOptions, name: keyof typeof OPTIONS): string {
  const value = text(raw, name);
  if (value === undefined || value === '') throw new UsageError(`--${name} is missing`, EX.USAGE);
  return value;
}

function flag(raw: RawOptions, name: keyof typeof OPTIONS): boolean {
  const value = given(raw, name);
  if (Array.isArray(value)) throw new UsageError(`--${name} is given more than once`, EX.USAGE);
  return value === true;
}

function list(raw: RawOptions, name: keyof typeof OPTIONS): string[] {
  const value = given(raw, name);
  if (value === undefined) return [];
  const values = (Array.isArray(value) ? value : [value]).map(String).filter(item => item !== '');
  if (values.length === 0) throw new UsageError(`--${name} is empty`, EX.USAGE);
  return values;
}

/** Longer ones a timer of Node.js cannot wait: it would fire at once. 24 days. */
const MOST_SECONDS = 2_147_483;

/** @returns milliseconds */
function seconds(raw: RawOptions, name: keyof typeof OPTIONS, least: number): number {
  const value = text(raw, name) ?? '';
  if (!/^[0-9]{1,7}(\.[0-9]{1,3})?$/.test(value) || Number(value) < least) {
    throw new UsageError(`--${name} ${value}: not a number of seconds of at least ${least}`, EX.USAGE);
  }
  if (Number(value) > MOST_SECONDS) {
    throw new UsageError(`--${name} ${value}: more than ${MOST_SECONDS} seconds`, EX.USAGE);
  }
  return Math.round(Number(value) * 1000);
}

function words(raw: RawOptions, name: keyof typeof OPTIONS): string[] {
  return (text(raw, name) ?? '').split(/[\s,]+/).filter(item => item !== '');
}

/** A name that nobody can have would deny nobody. */
function userNames(raw: RawOptions, name: 'allow-users' | 'deny-users'): string[] {
  const names = words(raw, name);
  const wrong = names.find(item => !isUserName(item));
  if (wrong !== undefined) throw new UsageError(`--${name} ${wrong}: not a user name`, EX.USAGE);
  return names;
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

function count(raw: RawOptions, name: keyof typeof OPTIONS, least = 1): number {
  const value = text(raw, name) ?? '';
  if (!/^[1-9][0-9]{0,6}$/.test(value) || Number(value) < least) {
    throw new UsageError(`--${name} ${value}: not a number of at least ${least}`, EX.USAGE);
  }
  return Number(value);
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

function backends(raw: RawOptions): { users: string | undefined; auth: AuthBackend[] } {
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

function outside(raw: RawOptions): OutsideSettings {
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

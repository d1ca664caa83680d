/**
 * Every option, once: its name (the same as a flag, as `MBOX_POP3D_*` in the environment, and in the man page), what it
 * means, and its default as text. Durations are seconds.
 */
import { EX, UsageError } from '../errors.js';
import { LOCK_METHODS } from '../maildrop/lock-methods.js';
import { MECHANISMS, PLAINTEXT } from '../pop3/mechanisms.js';
import { AUTH_BACKENDS, KERNELS } from './settings.js';

/** An option as yargs wants it, so that `--help` and the parser cannot disagree. */
export interface OptionRow {
  readonly type: 'string' | 'boolean' | 'array';
  readonly describe: string;
  readonly default?: string | boolean | readonly string[];
  readonly defaultDescription?: string;
}

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
  'runtime-dir': OPTIONS['runtime-dir'],
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

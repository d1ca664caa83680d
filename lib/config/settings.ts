/**
 * What the program is told, as values: of the flags, the environment and the defaults. Durations are in milliseconds
 * here, sizes in octets. How text becomes these is in the other files of this room.
 */
import type { SecureVersion } from 'node:tls';
import type { Level } from '../log.js';
import type { LockMethod } from '../maildrop/lock-methods.js';
import type { Mechanism, Plaintext } from '../pop3/mechanisms.js';
import type { CertificateFiles } from '../tls/pem-files.js';

/** Where accounts come from. */
export const AUTH_BACKENDS = ['users', 'system', 'pam', 'saslauthd', 'checkpassword'] as const;
export type AuthBackend = (typeof AUTH_BACKENDS)[number];

/** With what mailboxes are read: `wasm` insists on the fast way, `auto` does without where it must. */
export const KERNELS = ['auto', 'wasm', 'typescript'] as const;
export type KernelChoice = (typeof KERNELS)[number];

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

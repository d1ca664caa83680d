/**
 * The composition root: the only place that knows which implementation stands behind each port.
 * A front door makes a `TcpServer` (later: one stream) from what this returns.
 */
import { hostname } from 'node:os';
import type { Settings } from './config.js';
import type { Host } from './host/host.js';
import type { Log } from './log.js';
import { nodeIo } from './maildrop/io.js';
import { type MaildropDeps, type MaildropSettings, Spool } from './maildrop/open.js';
import type { Account, Authenticator } from './pop3/ports.js';
import { DEFAULT_SESSION_SETTINGS, type SessionServices } from './server/session.js';

/** What a session needs of the settings: all but how to listen and whom to become. */
export type SessionConfig = Omit<
  Settings,
  'listen' | 'users' | 'user' | 'group' | 'maxConnections' | 'maxConnectionsPerAddress' | 'logLevel'
>;

/** What the spool itself needs of them. */
export type SpoolConfig = Omit<MaildropSettings, 'ownerOf'>;

export interface Parts {
  readonly host: Host;
  readonly log: Log;
  readonly authenticator: Authenticator;
  /** Who must own the mailbox file of an account (design: what runs as whom). */
  readonly ownerOf: (account: Account) => number;
  /** The rest as in `MaildropDeps`. */
  readonly onDiskFailure?: MaildropDeps['onDiskFailure'];
  readonly becomeOwner?: MaildropDeps['becomeOwner'];
  readonly asSpoolGroup?: MaildropDeps['asSpoolGroup'];
}

/** The mail spool by itself, for commands that open no session. */
export function createSpool(config: SpoolConfig, parts: Omit<Parts, 'authenticator'>): Spool {
  return new Spool({ ...parts, io: nodeIo }, { ...config, ownerOf: parts.ownerOf });
}

export function createServices(config: SessionConfig, parts: Parts): SessionServices {
  const { log, authenticator } = parts;
  const spool = createSpool(config, parts);
  return {
    log,
    authenticator,
    openMaildrop: (account, peer) => spool.open(account, peer),
    settings: {
      ...DEFAULT_SESSION_SETTINGS,
      hostname: hostname(),
      apop: config.apop,
      last: config.last,
      loginTimeout: config.loginTimeout,
      idleTimeout: config.idleTimeout,
      failureDelay: config.failureDelay,
    },
  };
}

/** The effective uid, which Node.js knows on every Unix. */
export function effectiveUid(): number {
  const uid = process.geteuid?.();
  if (uid === undefined) throw new Error('this is no Unix: users have no numeric ids');
  return uid;
}

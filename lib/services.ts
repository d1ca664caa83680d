/**
 * The composition root: the only place that knows which implementation stands behind each port.
 * A front door makes a `TcpServer`, or serves one stream, with what this returns.
 */
import { hostname } from 'node:os';
import type { KernelChoice, Settings } from './config.js';
import { EX, UsageError } from './errors.js';
import type { Host } from './host/host.js';
import type { Log } from './log.js';
import type { Spool } from './maildrop/open.js';
import type { MaildropDeps, MaildropSettings } from './maildrop/spool-settings.js';
import type { Kernel } from './mbox/kernel/kernel.js';
import { Networks } from './networks.js';
import type { Account, Authenticator, Challenger } from './pop3/ports.js';
import { KeyedLimit } from './server/limits.js';
import { LocalLogins, type Logins } from './server/logins.js';
import { OutputPlaces } from './server/output.js';
import { DEFAULT_SESSION_SETTINGS, type SessionServices } from './server/session.js';
import { Throttle } from './server/throttle.js';

/** What a session needs of the settings: all but how to listen and whom to become. */
export type SessionConfig = Omit<
  Settings,
  | 'listen'
  | 'tlsListen'
  | 'certificates'
  | 'tls'
  | 'tlsMin'
  | 'handshakeTimeout'
  | 'workers'
  | 'workerTimeout'
  | 'users'
  | 'auth'
  | 'minUid'
  | 'authCache'
  | 'allowUsers'
  | 'denyUsers'
  | 'outside'
  | 'user'
  | 'group'
  | 'idleExit'
  | 'proxyNets'
  | 'maxConnections'
  | 'maxConnectionsPerAddress'
  | 'backlog'
  | 'logLevel'
>;

/** What the spool itself needs of them. */
export type SpoolConfig = Omit<MaildropSettings, 'ownerOf'> & Pick<Settings, 'kernel'>;

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

/**
 * The kernel of this process, if it is wanted and to be had (`--kernel`).
 * @throws UsageError when it must be had
 */
export async function kernelFor(choice: KernelChoice, log: Log): Promise<Kernel | undefined> {
  if (choice === 'typescript') return undefined;
  const { Kernel, loadKernel } = await import('./mbox/kernel/kernel.js');
  const kernel = loadKernel();
  if (kernel instanceof Kernel) return kernel;
  if (choice === 'wasm') throw new UsageError(`--kernel wasm: ${kernel.message}`, EX.UNAVAILABLE);
  log.write('debug', '-', 'no-kernel', { reason: kernel.message });
  return undefined;
}

/**
 * The mail spool by itself. It is loaded when first needed: a greeting does without.
 * @throws UsageError as `kernelFor`
 */
export async function createSpool(config: SpoolConfig, parts: Omit<Parts, 'authenticator'>): Promise<Spool> {
  const [{ Spool }, { hostIo }, kernel] = await Promise.all([
    import('./maildrop/open.js'),
    import('./maildrop/io.js'),
    kernelFor(config.kernel, parts.log),
  ]);
  return new Spool({ ...parts, io: hostIo(parts.host), kernel }, { ...config, ownerOf: parts.ownerOf });
}

export interface WarmServices extends SessionServices {
  /** Loads what is otherwise loaded at the first login, for a process that is about to give up root. */
  warmUp(): Promise<void>;
}

export interface Services extends WarmServices {
  readonly logins: LocalLogins;
  readonly authenticator: Authenticator;
}

/** The services of a process that counts and checks logins itself. */
export function createServices(config: SessionConfig, parts: Parts): Services {
  const { authenticator } = parts;
  const logins = new LocalLogins({
    authenticator,
    users: new KeyedLimit(config.maxConnectionsPerUser),
    throttle: new Throttle({ most: config.maxFailureDelay, mostWaiting: config.maxWaitingLogins }),
  });
  return { ...sessionServices(config, { ...parts, logins }), logins, authenticator };
}

/** Whoever `logins` asks counts and checks them. */
export function sessionServices(
  config: SessionConfig,
  parts: Omit<Parts, 'authenticator'> & { readonly authenticator: Challenger; readonly logins: Logins },
): WarmServices {
  const { log, authenticator, logins } = parts;
  let loaded: Promise<Spool> | undefined;
  const places = new OutputPlaces();
  const load = async () => {
    const spool = await createSpool(config, parts);
    places.prefer(spool.places);
    return spool;
  };
  const spool = () => {
    loaded ??= load();
    return loaded;
  };
  return {
    log,
    authenticator,
    openMaildrop: async (account, peer, holder) => (await spool()).open(account, peer, holder),
    logins,
    places,
    askKernel: fd => parts.host.acknowledged(fd),
    limitReceived: (fd, octets) => parts.host.limitReceived(fd, octets),
    warmUp: async () => {
      await Promise.all([spool(), parts.host.warmUp()]);
    },
    settings: {
      ...DEFAULT_SESSION_SETTINGS,
      hostname: hostname(),
      apop: config.apop,
      last: config.last,
      plaintext: config.plaintext,
      saslMechanisms: config.saslMechanisms,
      loginTimeout: config.loginTimeout,
      idleTimeout: config.idleTimeout,
      takeover: config.takeover,
      failureDelay: config.failureDelay,
      maxLoginFailures: config.maxLoginFailures,
      maxBadCommands: config.maxBadCommands,
      maxBadCommandsBeforeLogin: config.maxBadCommandsBeforeLogin,
      permits: permission(config.allowNets, config.denyNets),
    },
  };
}

/** Denied before allowed; no allowed network at all is all of them. */
function permission(allow: readonly string[], deny: readonly string[]): (address: string) => boolean {
  const [allowed, denied] = [new Networks(allow), new Networks(deny)];
  return address => !denied.has(address) && (allow.length === 0 || allowed.has(address));
}

/** The effective uid, which Node.js knows on every Unix. */
export function effectiveUid(): number {
  const uid = process.geteuid?.();
  if (uid === undefined) throw new Error('this is no Unix: users have no numeric ids');
  return uid;
}

/**
 * The library: a real POP3 server inside another program, for its tests. It is the daemon's code with
 * another composition: plain passwords given by the caller, an ephemeral port on loopback, state in a
 * scratch directory that `close` removes.
 */
import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StaticUsers } from './auth/static-users.js';
import { LIBRARY_DEFAULTS } from './config.js';
import { loadHost } from './host/load.js';
import type { Fields, Log } from './log.js';
import type { TlsOffer } from './server/session.js';
import { TcpServer } from './server/tcp.js';
import { createServices, effectiveUid } from './services.js';

export interface ServerOptions {
  /** Who may log in: name and plain password. A name is also the name of the mailbox file. */
  readonly users: Readonly<Record<string, string>>;
  /** Directory of the mailbox files. Default: an empty scratch directory, removed by `close`. */
  readonly spool?: string;
  /**
   * Directory for what must survive a crash or a restart: deletions that were interrupted, the unique-ids of
   * identical messages. Default: a scratch directory, removed by `close`. Give one if `spool` holds real mail.
   */
  readonly stateDir?: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: the system chooses, see `port`. */
  readonly port?: number;
  /**
   * A certificate with its chain and its private key, in PEM form, or several, of which clients choose by name.
   * With it `port` offers STLS, and `tlsPort` is TLS from the first octet. Default: no TLS.
   */
  readonly tls?: TlsCertificate | readonly TlsCertificate[];
  /** Default 0: the system chooses, see `tlsPort` of the server. */
  readonly tlsPort?: number;
  /** Refuse DELE, never write a mailbox file. Default false. */
  readonly readOnly?: boolean;
  /** Offer APOP. Default false. */
  readonly apop?: boolean;
  /** Offer LAST (RFC 1081). Default false. */
  readonly last?: boolean;
  /** Milliseconds until a failed login is answered. Default 0. */
  readonly failureDelay?: number;
  /** Milliseconds without a command. Default 600000. */
  readonly idleTimeout?: number;
  /** Milliseconds of silence after which a new login of the same user ends a session; 0: never. Default 60000. */
  readonly takeover?: number;
  /** Milliseconds a session keeps other programs off its mailbox file. Default 15000. */
  readonly lockYield?: number;
  /** Milliseconds to try for the mailbox locks. Default 20000. */
  readonly lockTimeout?: number;
}

export interface TlsCertificate {
  readonly cert: string | Uint8Array;
  readonly key: string | Uint8Array;
}

/**
 * The directory of the session locks: one for all servers of this process, so that two of them over one
 * spool exclude each other. Removed with the last of them.
 */
let runtimeDir: string | undefined;
let sharers = 0;

function enterRuntimeDir(): string {
  runtimeDir ??= mkdtempSync(join(tmpdir(), 'mbox-pop3d-run-'));
  sharers++;
  return runtimeDir;
}

function leaveRuntimeDir(): void {
  if (--sharers > 0 || runtimeDir === undefined) return;
  rmSync(runtimeDir, { recursive: true, force: true });
  runtimeDir = undefined;
}

/** What the events carry: the client's address and the fields of the log line. */
export type ServerEvent = Readonly<Fields> & { readonly address: string };

export interface ServerEvents {
  login: [ServerEvent];
  'login-failed': [ServerEvent];
  logout: [ServerEvent];
  /** Any other line of the log, such as a refused connection or a lock that was lost. */
  log: [event: string, ServerEvent];
}

export class Pop3Server extends EventEmitter<ServerEvents> {
  #closed: Promise<void> | undefined;

  /** @internal use `createServer` */
  constructor(
    private readonly tcp: TcpServer,
    /** The address that is listened on. */
    readonly host: string,
    /** The port that is listened on. */
    readonly port: number,
    /** The port with TLS from the first octet; undefined without `tls`. */
    readonly tlsPort: number | undefined,
    /** The directory of the mailbox files. */
    readonly spool: string,
    private readonly removeScratch: () => Promise<void>,
  ) {
    super();
  }

  /**
   * Stops listening, ends every session (one in the UPDATE state finishes it) and removes the scratch
   * directory. Sessions in the middle of a reply are cut.
   */
  close(): Promise<void> {
    this.#closed ??= this.tcp.close(0).then(this.removeScratch);
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Starts a POP3 server.
 * @throws UsageError when it cannot listen, or a certificate cannot be used
 */
export async function createServer(options: ServerOptions): Promise<Pop3Server> {
  const scratch = await mkdtemp(join(tmpdir(), 'mbox-pop3d-'));
  const runtimeDir = enterRuntimeDir();
  const removeScratch = async () => {
    leaveRuntimeDir();
    await rm(scratch, { recursive: true, force: true });
  };
  try {
    const stateDir = options.stateDir ?? join(scratch, 'state');
    const spool = options.spool ?? join(scratch, 'spool');
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    if (options.spool === undefined) await mkdir(spool);

    let server: Pop3Server | undefined;
    const log: Log = {
      write: (_level, address, event, fields) => {
        const carried = { ...fields, address };
        if (event === 'login' || event === 'login-failed' || event === 'logout') server?.emit(event, carried);
        else server?.emit('log', event, carried);
      },
    };
    const { host, degraded } = await loadHost();
    if (degraded !== undefined) {
      process.emitWarning(`mbox-pop3d: only locks within this process and dotlocks: ${degraded}`);
    }
    const services = createServices(
      { ...LIBRARY_DEFAULTS, ...defined(options), spool, stateDir, runtimeDir },
      { host, log, authenticator: new StaticUsers(options.users), ownerOf: effectiveUid },
    );
    const tcp = new TcpServer({ ...LIBRARY_DEFAULTS, services, log });
    const offer = options.tls && (await offerTls([options.tls].flat(), log));
    const address = options.host ?? '127.0.0.1';
    const [bound, secure] = await tcp.listen([
      { host: address, port: options.port ?? 0, tls: offer?.(false) },
      ...(offer ? [{ host: address, port: options.tlsPort ?? 0, tls: offer(true) }] : []),
    ]);
    server = new Pop3Server(tcp, bound!.address, bound!.port, secure?.port, spool, removeScratch);
    tcp.start();
    return server;
  } catch (error) {
    await removeScratch();
    throw error;
  }
}

/** The TLS of these certificates. @throws UsageError for one that cannot be used */
async function offerTls(
  certificates: readonly TlsCertificate[],
  log: Log,
): Promise<(implicit: boolean) => TlsOffer> {
  const { Certificates } = await import('./tls/certificates.js');
  const ready = new Certificates({
    pairs: certificates.map(({ cert, key }) => ({
      files: { cert: 'of tls', key: 'of tls' },
      cert: Buffer.from(cert as Uint8Array),
      key: Buffer.from(key as Uint8Array),
      exposed: false,
    })),
    minVersions: [LIBRARY_DEFAULTS.tlsMin],
    handshakeTimeout: LIBRARY_DEFAULTS.handshakeTimeout,
    log,
  });
  return implicit => ({
    implicit,
    ready: async () => {},
    start: stream => ready.start(stream, LIBRARY_DEFAULTS.tlsMin),
  });
}

/** Without the options that were passed as undefined. */
function defined<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
}

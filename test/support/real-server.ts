/**
 * The real server in this process, with directories of the test's own choice: TCP, real mailbox files,
 * real locks, as `serve` composes them. For what the library's `createServer` has no option for, and for
 * a second server over the same files.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { StaticUsers } from '../../lib/auth/static-users.js';
import { LIBRARY_DEFAULTS } from '../../lib/config.js';
import { loadHost } from '../../lib/host/load.js';
import { formatLine, type Log } from '../../lib/log.js';
import type { TlsOffer } from '../../lib/server/session.js';
import { TcpServer } from '../../lib/server/tcp.js';
import { createServices, effectiveUid, type SessionConfig } from '../../lib/services.js';
import { Certificates } from '../../lib/tls/certificates.js';
import { type CertificateName, pairOf } from './tls/certificates.js';

/** Where a server keeps its things. */
export interface Places {
  readonly spool: string;
  readonly stateDir: string;
  readonly runtimeDir: string;
}

export type RealOptions = Partial<
  Omit<SessionConfig, keyof Places> & {
    maxConnections: number;
    maxConnectionsPerAddress: number;
    /** Another port, `tlsPort`, has TLS from the first octet, with this certificate. */
    certificate: CertificateName;
    /** In ms. */
    handshakeTimeout: number;
  }
>;

export interface RealServer extends Places {
  readonly port: number;
  /** 0 without a certificate. */
  readonly tlsPort: number;
  readonly tcp: TcpServer;
  /** Every line of the log, with its level in front. */
  readonly logged: string[];
  close(): Promise<void>;
}

/** Empty directories, gone after the test. @param mailboxes user → content of the mailbox file */
export function makePlaces(mailboxes: Readonly<Record<string, string | Uint8Array>> = {}): Places {
  const root = mkdtempSync(join(tmpdir(), 'mbox-pop3d-test-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const places = { spool: join(root, 'spool'), stateDir: join(root, 'state'), runtimeDir: join(root, 'run') };
  for (const dir of Object.values(places)) mkdirSync(dir, { mode: 0o700 });
  for (const [user, content] of Object.entries(mailboxes)) {
    writeFileSync(join(places.spool, user), content, typeof content === 'string' ? 'latin1' : undefined);
  }
  return places;
}

/** The users of these names, each with the password `secret-NAME`. */
export function usersNamed(...names: string[]): Record<string, string> {
  return Object.fromEntries(names.map(name => [name, passwordOf(name)]));
}

export const passwordOf = (user: string) => `secret-${user}`;

/** Listens on an ephemeral port of 127.0.0.1; closed after the test. */
export async function startReal(
  places: Places,
  users: Readonly<Record<string, string>>,
  options: RealOptions = {},
): Promise<RealServer> {
  const logged: string[] = [];
  const log: Log = {
    write: (level, who, event, fields) => logged.push(`${level} ${formatLine(who, event, fields)}`),
  };
  const { host } = await loadHost();
  const services = createServices(
    { ...LIBRARY_DEFAULTS, lockTimeout: 300, ...options, ...places },
    { host, log, authenticator: new StaticUsers(users), ownerOf: effectiveUid },
  );
  const {
    maxConnections = LIBRARY_DEFAULTS.maxConnections,
    maxConnectionsPerAddress = LIBRARY_DEFAULTS.maxConnectionsPerAddress,
  } = options;
  const tcp = new TcpServer({ services, log, maxConnections, maxConnectionsPerAddress });
  const here = { host: '127.0.0.1', port: 0 };
  const tls = options.certificate && implicitTls(options.certificate, log, options.handshakeTimeout);
  const [bound, secure] = await tcp.listen([here, ...(tls ? [{ ...here, tls }] : [])]);
  tcp.start();
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= tcp.close(0);
    return closed;
  };
  onTestFinished(close);
  return { ...places, port: bound!.port, tlsPort: secure?.port ?? 0, tcp, logged, close };
}

function implicitTls(
  name: CertificateName,
  log: Log,
  handshakeTimeout: number = LIBRARY_DEFAULTS.handshakeTimeout,
): TlsOffer {
  const { tlsMin } = LIBRARY_DEFAULTS;
  const certificates = new Certificates({
    pairs: [pairOf(name)],
    minVersions: [tlsMin],
    handshakeTimeout,
    log,
  });
  return { implicit: true, ready: async () => {}, start: stream => certificates.start(stream, tlsMin) };
}

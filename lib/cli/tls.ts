/**
 * TLS as the settings want it: which certificates, for which socket, from the first octet or by STLS. A server
 * has everything ready at start, and fresh ever after; a process of one connection reads its files at start,
 * while it may, and loads the rest when the client asks for TLS.
 */
import type { SecureVersion } from 'node:tls';
import type { Settings } from '../config.js';
import { EX, Unavailable, UsageError } from '../errors.js';
import type { Log } from '../log.js';
import type { GivenSocket } from '../server/given.js';
import type { TlsOffer } from '../server/session.js';
import type { Certificates } from '../tls/certificates.js';
import type { PemPair } from '../tls/pem-files.js';
import type { TicketSecret } from '../tls/ticket-keys.js';

/** The port of POP3 over TLS. RFC 8314 §7.1. */
const POP3S_PORT = 995;

/**
 * Whether a socket that we were given speaks TLS from the first octet.
 * @param port the local one, of a socket that has one
 * @throws UsageError EX_CONFIG when it does, and there is no certificate
 */
export function isImplicit(settings: Settings, { name }: GivenSocket, port: number | undefined): boolean {
  const implicit = settings.tls ?? (name === 'pop3s' || (name !== 'pop3' && port === POP3S_PORT));
  if (implicit && settings.certificates.length === 0) {
    throw new UsageError(
      `the socket ${name || `of port ${port}`} is for TLS: --tls-cert is missing`,
      EX.CONFIG,
    );
  }
  return implicit;
}

/** The TLS of a server. */
export class ServerTls {
  private changed: (pairs: readonly PemPair[]) => void = () => {};

  private constructor(
    private readonly settings: Settings,
    private readonly certificates: Certificates,
    private readonly watch: { reload(): void; close(): Promise<void> },
  ) {}

  /**
   * Reads the certificates, as root if we are, and notices from now on when they change.
   * @returns undefined when there are none
   * @throws UsageError for one that cannot be used
   */
  static async open(settings: Settings, log: Log): Promise<ServerTls | undefined> {
    if (settings.certificates.length === 0) return undefined;
    const certificates = await load(settings, log, await readCertificates(settings));
    const { CertificateWatch } = await import('../tls/certificate-watch.js');
    let server: ServerTls | undefined;
    const used = {
      use: (pairs: readonly PemPair[]) => {
        const changed = certificates.use(pairs);
        if (changed) server?.changed(pairs);
        return changed;
      },
      warn: () => certificates.warn(),
    };
    const watch = new CertificateWatch(used, settings.certificates, log);
    server = new ServerTls(settings, certificates, watch);
    await watch.start();
    return server;
  }

  /** @param changed is given the certificates in use whenever they change */
  onChange(changed: (pairs: readonly PemPair[]) => void): void {
    this.changed = changed;
  }

  get pairs(): readonly PemPair[] {
    return this.certificates.pairs;
  }

  get ticketSecret(): TicketSecret {
    return this.certificates.ticketSecret;
  }

  offer(
    implicit: boolean,
    minVersion: SecureVersion = this.settings.tlsMin,
  ): TlsOffer & { minVersion: SecureVersion } {
    return {
      implicit,
      minVersion,
      ready: async () => {},
      start: stream => this.certificates.start(stream, minVersion),
    };
  }

  /** Reads the certificates again. */
  reload(): void {
    this.watch.reload();
  }

  async close(): Promise<void> {
    await this.watch.close();
  }
}

/** The certificates and keys as they are on the disk. @throws UsageError naming the file */
export async function readCertificates({ certificates }: Settings): Promise<PemPair[]> {
  if (certificates.length === 0) return [];
  const { readPemPair } = await import('../tls/pem-files.js');
  return certificates.map(readPemPair);
}

/**
 * The TLS of a process for one connection.
 * @param pairs what `readCertificates` gave, before root was given up
 * @throws UsageError, with `implicit`, for a certificate that cannot be used; else STLS is refused
 */
export async function connectionTls(
  settings: Settings,
  log: Log,
  pairs: readonly PemPair[],
  implicit: boolean,
): Promise<TlsOffer | undefined> {
  if (pairs.length === 0) return undefined;
  let loading: Promise<Certificates> | undefined;
  const loaded = () => {
    loading ??= load(settings, log, pairs);
    return loading;
  };
  if (implicit) await loaded();
  return {
    implicit,
    ready: async () => {
      try {
        await loaded();
      } catch (cause) {
        throw new Unavailable('SYS/PERM', 'TLS is not set up', { cause });
      }
    },
    start: async stream => (await loaded()).start(stream, settings.tlsMin),
  };
}

async function load(settings: Settings, log: Log, pairs: readonly PemPair[]): Promise<Certificates> {
  const { Certificates } = await import('../tls/certificates.js');
  const { handshakeTimeout } = settings;
  return new Certificates({ pairs, minVersions: versions(settings), handshakeTimeout, log });
}

/** All that a listener may ask for. */
function versions({ tlsMin, listen, tlsListen }: Settings): Set<SecureVersion> {
  return new Set([tlsMin, ...[...listen, ...tlsListen].map(address => address.tlsMin ?? tlsMin)]);
}

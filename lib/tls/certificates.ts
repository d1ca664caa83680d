/**
 * The certificates of a process: read at start, and again when their files change or somebody says so. What
 * cannot be used changes nothing: handshakes go on with what there was, and the log says why. One that has
 * begun is never disturbed.
 */
import type { Duplex } from 'node:stream';
import type { SecureVersion } from 'node:tls';
import { UsageError } from '../errors.js';
import type { Log } from '../log.js';
import { Contexts } from './contexts.js';
import { handshake } from './handshake.js';
import { checkIdentity, type Identity } from './identity.js';
import type { Inbound } from './inbound.js';
import type { PemPair } from './pem-files.js';
import { TICKET_KEY_LIFE, TicketKeys, type TicketSecret } from './ticket-keys.js';

const DAY = 86_400_000;
/** Days before its end from which a certificate is mentioned in the log. */
const WARN_DAYS = 14;

export interface CertificatesOptions {
  /** At least one; the first answers to clients that name nobody we know. */
  readonly pairs: readonly PemPair[];
  /** The least versions of TLS that `start` will be asked for. */
  readonly minVersions: Iterable<SecureVersion>;
  /** In ms. */
  readonly handshakeTimeout: number;
  readonly log: Log;
  /** Of another process, which take each other's sessions up again. Default: random. */
  readonly ticketSecret?: TicketSecret;
  /** In ms since 1970. */
  readonly clock?: () => number;
}

/** A stream under TLS. */
export interface Secured {
  readonly stream: Duplex;
  readonly inbound: Inbound;
  /** `TLSv1.3` and the like. */
  readonly protocol: string;
}

export class Certificates {
  readonly #options: CertificatesOptions;
  readonly #ticketKeys: TicketKeys;
  #pairs: readonly PemPair[] = [];
  #contexts = new Map<SecureVersion, Contexts>();

  /** @throws UsageError EX_CONFIG for what cannot be used, naming the file */
  constructor(options: CertificatesOptions) {
    this.#options = options;
    this.#ticketKeys = new TicketKeys(options.ticketSecret, options.clock);
    this.use(options.pairs);
    // Also while nobody comes: keys of hours that are over are to be in no memory.
    const self = new WeakRef(this);
    const timer = setInterval(() => {
      const certificates = self.deref();
      if (certificates) certificates.#turnTicketKeys();
      else clearInterval(timer);
    }, TICKET_KEY_LIFE).unref();
  }

  /** For another process with the same certificates. */
  get ticketSecret(): TicketSecret {
    this.#turnTicketKeys();
    return this.#ticketKeys.secret;
  }

  /** Those in use. */
  get pairs(): readonly PemPair[] {
    return this.#pairs;
  }

  /** A handshake on a stream, which is used for nothing else from then on. @throws HandshakeFailed */
  async start(stream: Duplex, minVersion: SecureVersion): Promise<Secured> {
    this.#turnTicketKeys();
    const contexts = this.#contexts.get(minVersion);
    if (contexts === undefined) throw new Error(`no certificates were made ready for ${minVersion}`);
    const { socket, inbound } = await handshake(stream, contexts, this.#options.handshakeTimeout);
    return { stream: socket, inbound, protocol: socket.getProtocol() ?? '' };
  }

  /**
   * Uses these for all handshakes that begin from now on; all of them, or none.
   * @returns whether they are others than those in use
   * @throws UsageError EX_CONFIG for what cannot be used, naming the file
   */
  use(pairs: readonly PemPair[]): boolean {
    if (same(pairs, this.#pairs)) return false;
    const identities = pairs.map(checkIdentity);
    this.#contexts = this.#contextsOf(identities);
    this.#pairs = pairs;
    for (const identity of identities) this.#report(identity);
    return true;
  }

  /** Says of each certificate that ends soon that it does. */
  warn(now = Date.now()): void {
    for (const pair of this.#pairs) this.#warn(checkIdentity(pair), now);
  }

  #turnTicketKeys(): void {
    if (this.#ticketKeys.turn()) this.#contexts = this.#contextsOf(this.#pairs.map(checkIdentity));
  }

  #contextsOf(identities: readonly Identity[]): Map<SecureVersion, Contexts> {
    const ticketKeys = this.#ticketKeys.octets;
    const contextsFor = (minVersion: SecureVersion) => new Contexts(identities, { minVersion, ticketKeys });
    return new Map([...this.#options.minVersions].map(version => [version, contextsFor(version)]));
  }

  #report(identity: Identity): void {
    const { files, exposed } = identity.pair;
    const { log } = this.#options;
    const names = identity.names.join(' ') || undefined;
    const expires = identity.validTo.toISOString().slice(0, 10);
    log.write('info', '-', 'certificate', { cert: files.cert, names, key: identity.keyType, expires });
    if (exposed) {
      const remedy = `chmod o= ${files.key}`;
      log.write('warn', '-', 'key-exposed', { key: files.key, reason: 'everybody can read it', remedy });
    }
    this.#warn(identity, Date.now());
  }

  #warn({ pair, validTo }: Identity, now: number): void {
    const days = Math.floor((validTo.getTime() - now) / DAY);
    if (days >= WARN_DAYS) return;
    const fields = { cert: pair.files.cert, expires: validTo.toISOString() };
    if (days < 0) this.#options.log.write('error', '-', 'certificate-expired', fields);
    else this.#options.log.write('warn', '-', 'certificate-expires', { ...fields, days });
  }
}

function same(some: readonly PemPair[], others: readonly PemPair[]): boolean {
  if (some.length !== others.length) return false;
  return some.every((pair, i) => pair.cert.equals(others[i]!.cert) && pair.key.equals(others[i]!.key));
}

/** The text for the log of an error that leaves the certificates as they were. @throws what is a bug */
export function whyKept(error: unknown): string {
  if (error instanceof UsageError) return error.message;
  throw error;
}

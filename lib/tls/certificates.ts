/**
 * The certificates of a process: read at start, and again when their files change or somebody says so. What
 * cannot be used changes nothing: handshakes go on with what there was, and the log says why. One that has
 * begun is never disturbed.
 */
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { SecureVersion } from 'node:tls';
import { UsageError } from '../errors.js';
import type { Log } from '../log.js';
import { Contexts } from './contexts.js';
import { handshake } from './handshake.js';
import { checkIdentity, type Identity } from './identity.js';
import type { PemPair } from './pem-files.js';

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
  /** 48 octets that all processes share which take each other's sessions up again. Default: random. */
  readonly ticketKeys?: Buffer;
}

export class Certificates {
  readonly #options: CertificatesOptions;
  readonly ticketKeys: Buffer;
  #pairs: readonly PemPair[] = [];
  #contexts = new Map<SecureVersion, Contexts>();

  /** @throws UsageError EX_CONFIG for what cannot be used, naming the file */
  constructor(options: CertificatesOptions) {
    this.#options = options;
    this.ticketKeys = options.ticketKeys ?? randomBytes(48);
    this.use(options.pairs);
  }

  /** Those in use. */
  get pairs(): readonly PemPair[] {
    return this.#pairs;
  }

  /** A handshake on a stream, which is used for nothing else from then on. @throws HandshakeFailed */
  async start(stream: Duplex, minVersion: SecureVersion): Promise<{ stream: Duplex; protocol: string }> {
    const contexts = this.#contexts.get(minVersion);
    if (contexts === undefined) throw new Error(`no certificates were made ready for ${minVersion}`);
    const socket = await handshake(stream, contexts, this.#options.handshakeTimeout);
    return { stream: socket, protocol: socket.getProtocol() ?? '' };
  }

  /**
   * Uses these for all handshakes that begin from now on; all of them, or none.
   * @returns whether they are others than those in use
   * @throws UsageError EX_CONFIG for what cannot be used, naming the file
   */
  use(pairs: readonly PemPair[]): boolean {
    if (same(pairs, this.#pairs)) return false;
    const identities = pairs.map(checkIdentity);
    const contexts = new Map<SecureVersion, Contexts>();
    for (const minVersion of this.#options.minVersions) {
      contexts.set(minVersion, new Contexts(identities, { minVersion, ticketKeys: this.ticketKeys }));
    }
    this.#contexts = contexts;
    this.#pairs = pairs;
    for (const identity of identities) this.#report(identity);
    return true;
  }

  /** Says of each certificate that ends soon that it does. */
  warn(now = Date.now()): void {
    for (const pair of this.#pairs) this.#warn(checkIdentity(pair), now);
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

/**
 * What OpenSSL needs for handshakes, of all certificates, and which of them answers to a name (SNI, RFC
 * 6066 §3): the one for exactly that name, then one with a wildcard for it, else the first. Certificates for the
 * same names with keys of different types answer together, and the client's algorithms choose.
 *
 * Invariant: choosing never fails and never remembers anything: the name is the client's (CVE-2026-21637,
 * CVE-2017-15130).
 */
import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureVersion } from 'node:tls';
import { EX, UsageError } from '../errors.js';
import type { Identity } from './identity.js';

/** What the contexts of one process have in common. */
export interface ContextOptions {
  readonly minVersion: SecureVersion;
  /** 48 octets; kept when certificates change, so that sessions can still be resumed. */
  readonly ticketKeys: Buffer;
}

export class Contexts {
  readonly #byName = new Map<string, SecureContext>();
  /** For a client that names nobody we know. */
  readonly default: SecureContext;

  /**
   * @param identities at least one; the first is the default
   * @throws UsageError EX_CONFIG when OpenSSL does not take one of them
   */
  constructor(identities: readonly Identity[], options: ContextOptions) {
    const contexts = groups(identities).map(group => {
      const context = makeContext(group, options);
      // The first certificate for a name is the one.
      for (const name of group[0]!.names) if (!this.#byName.has(name)) this.#byName.set(name, context);
      return context;
    });
    this.default = contexts[0]!;
  }

  /** @param name as the client sent it */
  forName(name: string): SecureContext {
    const wanted = name.toLowerCase().replace(/\.$/, '');
    const wildcard = wanted.replace(/^[^.]+/, '*');
    return this.#byName.get(wanted) ?? this.#byName.get(wildcard) ?? this.default;
  }
}

/** Puts those together that are for the same names, if their keys are of different types. */
function groups(identities: readonly Identity[]): Identity[][] {
  const found: Identity[][] = [];
  for (const identity of identities) {
    const sameNames = (other: Identity) =>
      [...other.names].sort().join() === [...identity.names].sort().join();
    const group = found.find(
      others => sameNames(others[0]!) && others.every(({ keyType }) => keyType !== identity.keyType),
    );
    if (group) group.push(identity);
    else found.push([identity]);
  }
  return found;
}

function makeContext(group: readonly Identity[], { minVersion, ticketKeys }: ContextOptions): SecureContext {
  const old = minVersion === 'TLSv1' || minVersion === 'TLSv1.1';
  try {
    return createSecureContext({
      cert: group.map(({ pair }) => pair.cert),
      key: group.map(({ pair }) => pair.key),
      minVersion,
      ticketKeys,
      // No renegotiation: the client could have us do it again and again.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
      // OpenSSL 3 does TLS 1.0 and 1.1 only without any demand on the strength of signatures.
      ...(old && { ciphers: 'DEFAULT@SECLEVEL=0' }),
    });
  } catch (cause) {
    const files = group.map(({ pair }) => pair.files.cert).join(', ');
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(`certificate ${files}: ${reason}`, EX.CONFIG, { cause });
  }
}

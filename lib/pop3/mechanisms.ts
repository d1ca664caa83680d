/**
 * Which SASL mechanisms a client is offered, and whether it may send a password at all. RFC 5034 §3-4.
 *
 * Invariant: what is not offered is not accepted. A mechanism that proves the password is offered by itself
 * only if every user can use it: a client picks the strongest it sees, and does not try another when a user
 * whose password is stored as a hash is refused.
 */
import type { Provable } from './ports.js';

/** Strongest first. */
export const MECHANISMS = ['SCRAM-SHA-256', 'SCRAM-SHA-1', 'CRAM-MD5', 'PLAIN', 'LOGIN'] as const;
export type Mechanism = (typeof MECHANISMS)[number];

/** Where passwords may be sent as they are: anywhere, from this host or by TLS, or by TLS only. */
export const PLAINTEXT = ['always', 'local', 'tls'] as const;
export type Plaintext = (typeof PLAINTEXT)[number];

/** What the connection is, as far as it decides what may be offered. */
export interface Transport {
  /** Nobody between the client and us can read along: TLS is up. */
  readonly secure: boolean;
  /** The client is on this host. */
  readonly local: boolean;
  /** TLS can be started: there is a certificate. */
  readonly stls: boolean;
}

export interface SaslContext {
  readonly transport: Transport;
  readonly plaintext: Plaintext;
  /** `auto`: what works for every user. Named ones are offered as soon as they work for somebody. */
  readonly mechanisms: 'auto' | readonly Mechanism[];
  /** The same in all of a session. */
  readonly provable: () => Promise<Provable>;
}

/** USER and PASS, PLAIN, LOGIN. */
export function plaintextAllowed({ transport, plaintext }: Omit<SaslContext, 'provable'>): boolean {
  return plaintext === 'always' || transport.secure || (plaintext === 'local' && transport.local);
}

/** Whether the mechanism sends the password. */
export function sendsPassword(mechanism: Mechanism): mechanism is 'PLAIN' | 'LOGIN' {
  return mechanism === 'PLAIN' || mechanism === 'LOGIN';
}

/** The mechanisms that the client may use now, in the order they are announced. */
export async function offered(context: SaslContext): Promise<Mechanism[]> {
  const { mechanisms } = context;
  const { all, some } = await context.provable();
  const [candidates, proofs] = mechanisms === 'auto' ? [MECHANISMS, all] : [mechanisms, some];
  return candidates.filter(name => (sendsPassword(name) ? plaintextAllowed(context) : proofs.has(name)));
}

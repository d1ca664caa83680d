/**
 * CAPA: what works in this session. RFC 2449 §5-6, RFC 3206 §6.
 *
 * A capability is a function of the session, so that one that depends on the state or on the
 * configuration (STLS, SASL) is one more line here. RFC 2449 §5: what is announced before login is
 * announced after it too. LAST and APOP have no capability: RFC 2449 §6 gives them none.
 */
import { ok, type Reply } from './reply.js';

/** What the configuration of a session switches on. */
export interface Features {
  /** LAST, which RFC 1460 dropped in 1993. */
  readonly last: boolean;
}

export interface CapabilityContext {
  readonly state: 'authorization' | 'transaction';
  readonly features: Features;
  readonly transport: Transport;
}

/** What the connection is, as far as it decides what may be offered. */
export interface Transport {
  /** Nobody between the client and us can read along: TLS is up. */
  readonly secure: boolean;
  /** The client is on this host. */
  readonly local: boolean;
}

/** The capability's line, or undefined when it does not apply. */
export type Capability = (context: CapabilityContext) => string | undefined;

const CAPABILITIES: readonly Capability[] = [
  () => 'TOP', // RFC 2449 §6.1
  () => 'USER', // RFC 2449 §6.2
  () => 'RESP-CODES', // RFC 2449 §6.4
  () => 'AUTH-RESP-CODE', // RFC 3206 §6
  () => 'PIPELINING', // RFC 2449 §6.6
  () => 'EXPIRE NEVER', // RFC 2449 §6.7: nothing is removed that the client did not mark
  () => 'UIDL', // RFC 2449 §6.8
  // RFC 2449 §6.9: the same in both states, hence without a version, which is nobody's before login.
  () => 'IMPLEMENTATION mbox-pop3d',
];

/** The lines of the capability list. */
export function capabilities(context: CapabilityContext): string[] {
  return CAPABILITIES.map(capability => capability(context)).filter(line => line !== undefined);
}

/** The CAPA command, the same in both states. */
export function capa(context: CapabilityContext): Reply {
  return ok('capability list follows', { listing: capabilities(context) });
}

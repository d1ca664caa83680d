/**
 * CAPA: what works in this session. RFC 2449 §5-6, RFC 3206 §6.
 *
 * A capability is a function of the session, so that one that depends on the state or on the
 * configuration (STLS, SASL) is one more line here. RFC 2449 §5: what is announced before login is
 * announced after it too, but for STLS, which RFC 2595 ties to the state. LAST and APOP have no capability:
 * RFC 2449 §6 gives them none.
 */
import { offered, plaintextAllowed, type SaslContext } from './mechanisms.js';
import { ok, type Reply } from './reply.js';

/** What the configuration of a session switches on. */
export interface Features {
  /** LAST, which RFC 1460 dropped in 1993. */
  readonly last: boolean;
}

export interface CapabilityContext extends SaslContext {
  readonly state: 'authorization' | 'transaction';
  readonly features: Features;
}

/** The capability's line, or undefined when it does not apply. */
export type Capability = (context: CapabilityContext) => string | undefined | Promise<string | undefined>;

const CAPABILITIES: readonly Capability[] = [
  () => 'TOP', // RFC 2449 §6.1
  context => (plaintextAllowed(context) ? 'USER' : undefined), // RFC 2449 §6.2
  sasl, // RFC 5034 §3
  () => 'RESP-CODES', // RFC 2449 §6.4
  () => 'AUTH-RESP-CODE', // RFC 3206 §6
  () => 'PIPELINING', // RFC 2449 §6.6
  () => 'EXPIRE NEVER', // RFC 2449 §6.7: nothing is removed that the client did not mark
  () => 'UIDL', // RFC 2449 §6.8
  context => (stlsPermitted(context) ? 'STLS' : undefined),
  // RFC 2449 §6.9: the same in both states, hence without a version, which is nobody's before login.
  () => 'IMPLEMENTATION mbox-pop3d',
];

async function sasl(context: CapabilityContext): Promise<string | undefined> {
  const mechanisms = await offered(context);
  return mechanisms.length === 0 ? undefined : `SASL ${mechanisms.join(' ')}`;
}

/** RFC 2595 §4 (STLS): announced only where it is permitted: before the login, and while TLS is not active. */
export function stlsPermitted({ state, transport }: CapabilityContext): boolean {
  return state === 'authorization' && transport.stls && !transport.secure;
}

/** The lines of the capability list. */
export async function capabilities(context: CapabilityContext): Promise<string[]> {
  const lines = await Promise.all(CAPABILITIES.map(capability => capability(context)));
  return lines.filter(line => line !== undefined);
}

/** The CAPA command, the same in both states. */
export async function capa(context: CapabilityContext): Promise<Reply> {
  return ok('capability list follows', { listing: await capabilities(context) });
}

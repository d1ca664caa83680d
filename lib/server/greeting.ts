/**
 * The greeting, and APOP's timestamp in it. RFC 1939 §4 and §7 (APOP), RFC 2449 §3 (greeting).
 *
 * Invariant: there is a `<` in the greeting only when APOP works; no two timestamps are alike, and
 * none can be foreseen.
 */
import { ok, type Reply } from '../pop3/reply.js';
import type { SessionSettings } from './session-services.js';

export interface Greeting {
  readonly reply: Reply;
  /** Angle brackets included; undefined when APOP is off. */
  readonly timestamp: string | undefined;
}

export function greet({ hostname, apop }: Pick<SessionSettings, 'hostname' | 'apop'>): Greeting {
  const timestamp = apop ? stamp(hostname) : undefined;
  return { timestamp, reply: ok(`mbox-pop3d at ${safe(hostname)} ready${timestamp ? ` ${timestamp}` : ''}`) };
}

/** A timestamp for APOP or CRAM-MD5, angle brackets included. RFC 1939 §7 (APOP), RFC 2195 §2. */
export function stamp(hostname: string): string {
  return `<${nonce()}.${Date.now()}@${safe(hostname)}>`;
}

function safe(hostname: string): string {
  return /^[A-Za-z0-9.-]{1,200}$/.test(hostname) ? hostname : 'localhost';
}

/** The global `crypto` is loaded by its first use: a session without APOP or SASL never pays for it. */
function nonce(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(18))).toString('hex');
}

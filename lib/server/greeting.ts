/**
 * The greeting, and APOP's timestamp in it. RFC 1939 §4 and §7 (APOP), RFC 2449 §3 (greeting).
 *
 * Invariant: there is a `<` in the greeting only when APOP works; no two timestamps are alike, and
 * none can be foreseen.
 */
import { writeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { errnoOf } from '../errors.js';
import { ok, type Reply, statusLine } from '../pop3/reply.js';
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

/**
 * Says the greeting, one without APOP, before the session is there that will serve the client.
 * @returns false when the client is gone: then the session finds that out
 */
export function greetAtOnce(
  client: { readonly fd: number; readonly socket: Socket },
  hostname: string,
): boolean {
  const line = statusLine(greet({ hostname, apop: false }).reply);
  try {
    const written = writeSync(client.fd, line, null, 'latin1');
    if (written < line.length) client.socket.write(line.slice(written), 'latin1');
    return true;
  } catch (error) {
    if (['EAGAIN', 'EPIPE', 'ECONNRESET'].includes(errnoOf(error) ?? '')) return false;
    throw error;
  }
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

/**
 * What SASL needs of a session: lines of an exchange, random challenges, the authenticator's answers.
 * RFC 5034 §4.
 */
import { BadRequest, Disconnected, Unavailable } from '../errors.js';
import type { AuthPorts } from '../pop3/auth.js';
import type { Peer, Provable } from '../pop3/ports.js';
import { MAX_RESPONSE } from '../pop3/sasl.js';
import { stamp } from './greeting.js';
import type { Wire } from './send.js';
import type { SessionServices } from './session-services.js';

const NOTHING: Provable = { all: new Set(), some: new Set() };

export function authPorts(
  { authenticator, settings }: SessionServices,
  peer: Peer,
  wire: Omit<Wire, 'log'>,
): AuthPorts {
  return {
    ask: challenge => ask(wire, challenge),
    nonce: () => Buffer.from(crypto.getRandomValues(new Uint8Array(18))).toString('base64'),
    challenge: () => stamp(settings.hostname),
    scramChallenge: (method, user) => authenticator.scramChallenge(method, user, peer),
  };
}

/**
 * What the users can prove, asked once: RFC 5034 §3 wants the same list after the login, when we may be
 * another user who cannot read the users file.
 */
export function provableOnce({ authenticator }: SessionServices): () => Promise<Provable> {
  let answer: Promise<Provable> | undefined;
  return () => {
    answer ??= authenticator.provable().catch((error: unknown) => {
      // The backend has logged it. A password may still be checked by another one.
      if (error instanceof Unavailable) return NOTHING;
      throw error;
    });
    return answer;
  };
}

/** @throws BadRequest for a line that is too long | Disconnected */
async function ask({ connection, output }: Omit<Wire, 'log'>, challenge: string): Promise<Uint8Array> {
  await output.text(`+ ${challenge}\r\n`);
  await output.flush();
  const line = await connection.line(MAX_RESPONSE);
  if (line === undefined || line === 'flooded') {
    connection.cut(line ?? 'closed');
    throw new Disconnected('closed');
  }
  if (line === 'too-long') throw new BadRequest('response too long');
  return line;
}

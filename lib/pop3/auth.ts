/** AUTH: from a mechanism's name to the credentials that its exchange gives. RFC 5034 §4. */
import { BadRequest } from '../errors.js';
import type { Credentials } from './authorization.js';
import {
  MECHANISMS,
  type Mechanism,
  offered,
  plaintextAllowed,
  type SaslContext,
  sendsPassword,
} from './mechanisms.js';
import { type Ask, Exchange } from './sasl.js';
import { cramMd5 } from './sasl-cram-md5.js';
import { login, plain } from './sasl-password.js';
import { type ScramPorts, scram } from './sasl-scram.js';

/** What AUTH needs of the session. */
export interface AuthPorts extends ScramPorts {
  readonly ask: Ask;
  /** For CRAM-MD5: a challenge never used before, angle brackets included. RFC 2195 §2. */
  readonly challenge: () => string;
}

/** For a password on a connection where none may be sent: RFC 3206 §5 counts that as a matter of policy. */
export function refusePlaintext(): never {
  throw new BadRequest('passwords in clear text are not accepted without TLS', 'AUTH');
}

/**
 * Runs the exchange of a mechanism.
 * @param name as the client wrote it; RFC 5034 §5: in any case
 * @param initial the initial response, undefined when there was none
 * @throws BadRequest when the mechanism is not offered, or the client cancels or does not keep to it
 */
export async function authenticate(
  session: SaslContext & { readonly ports: AuthPorts },
  name: string,
  initial: string | undefined,
): Promise<Credentials> {
  const mechanism = MECHANISMS.find(known => known === name.toUpperCase());
  if (mechanism === undefined) throw new BadRequest('unknown mechanism');
  if (sendsPassword(mechanism) && !plaintextAllowed(session)) refusePlaintext();
  if (!(await offered(session)).includes(mechanism)) throw new BadRequest('mechanism not available');
  return run(mechanism, session.ports, initial);
}

function run(mechanism: Mechanism, ports: AuthPorts, initial: string | undefined): Promise<Credentials> {
  const exchange = new Exchange(ports.ask, initial);
  switch (mechanism) {
    case 'PLAIN':
      return plain(exchange);
    case 'LOGIN':
      return login(exchange, initial !== undefined);
    case 'CRAM-MD5':
      return cramMd5(exchange, ports.challenge());
    default:
      return scram(exchange, mechanism, ports);
  }
}

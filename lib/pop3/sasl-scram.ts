/**
 * SCRAM without channel binding. RFC 5802 §3 and §5, RFC 7677. Keys and digests are the authenticator's.
 *
 * Invariant: the proof covers what both sides said, to the octet; the last word of a success is the
 * server's signature, and the login is complete only when the client has taken it.
 */
import { BadRequest } from '../errors.js';
import type { Credentials } from './authorization.js';
import type { ScramChallenge, ScramMethod } from './ports.js';
import type { Exchange } from './sasl.js';
import { isOwn } from './sasl-password.js';
import { readClientFinal, readClientFirst } from './sasl-scram-messages.js';

/** Printable, without a comma. */
export type Nonce = () => string;

/** What a SCRAM exchange needs of the session. */
export interface ScramPorts {
  readonly nonce: Nonce;
  readonly scramChallenge: (method: ScramMethod, user: Uint8Array) => Promise<ScramChallenge>;
}

/** @throws BadRequest, and whatever `scramChallenge` throws */
export async function scram(
  exchange: Exchange,
  method: ScramMethod,
  { nonce, scramChallenge }: ScramPorts,
): Promise<Credentials> {
  const first = readClientFirst(await exchange.first());
  const { user } = first;
  const { salt, iterations } = await scramChallenge(method, user);
  const bothNonces = first.nonce + nonce();
  const serverFirst = `r=${bothNonces},s=${Buffer.from(salt).toString('base64')},i=${iterations}`;

  const final = readClientFinal(await exchange.challenge(serverFirst));
  // RFC 5802 §5.1: what the client heard, and what it said first, must be what was said.
  if (final.nonce !== bothNonces || final.gs2Header !== first.gs2Header) {
    throw new BadRequest('not an answer to this challenge');
  }
  if (!isOwn(first.authzid, user)) return { method, user, refused: 'another authorization identity' };
  const authMessage = Buffer.from(`${first.bare},${serverFirst},${final.withoutProof}`, 'latin1');
  const confirm = async (serverSignature: Uint8Array) => {
    const answer = await exchange.challenge(`v=${Buffer.from(serverSignature).toString('base64')}`);
    if (answer.length > 0) throw new BadRequest('the exchange was over');
  };
  return { method, user, authMessage, clientProof: final.proof, confirm };
}

/**
 * The mechanisms that send the password itself: PLAIN (RFC 4616), and LOGIN, which no RFC has and every old
 * client: two questions whose answers are the name and the password.
 */
import { BadRequest } from '../errors.js';
import type { Credentials } from './authorization.js';
import type { Exchange } from './sasl.js';

const NUL = 0;

/** RFC 4616 §2: `[authzid] NUL authcid NUL passwd`. */
export async function plain(exchange: Exchange): Promise<Credentials> {
  const message = await exchange.first();
  const afterAuthzid = message.indexOf(NUL);
  const afterAuthcid = message.indexOf(NUL, afterAuthzid + 1);
  const authzid = message.subarray(0, Math.max(0, afterAuthzid));
  const user = message.subarray(afterAuthzid + 1, Math.max(0, afterAuthcid));
  const password = message.subarray(afterAuthcid + 1);
  const whole = afterAuthzid >= 0 && afterAuthcid > afterAuthzid && !password.includes(NUL);
  if (!whole || user.length === 0 || password.length === 0) throw new BadRequest('not a PLAIN message');
  if (!isOwn(authzid, user)) return { method: 'PLAIN', user, refused: 'another authorization identity' };
  return { method: 'PLAIN', user, password };
}

/** The prompts are those that clients look for. An initial response is the name. */
export async function login(exchange: Exchange, initial: boolean): Promise<Credentials> {
  const user = initial ? await exchange.first() : await exchange.challenge('Username:');
  const password = await exchange.challenge('Password:');
  if (user.length === 0 || password.length === 0) throw new BadRequest('empty user name or password');
  return { method: 'LOGIN', user, password };
}

/** Nobody acts for somebody else here: an authorization identity is left out, or the user's own name. */
export function isOwn(authzid: Uint8Array, user: Uint8Array): boolean {
  return authzid.length === 0 || Buffer.compare(authzid, user) === 0;
}

/** CRAM-MD5: a challenge, answered by `user SP digest`. RFC 2195 §2. */
import { BadRequest } from '../errors.js';
import type { Credentials } from './authorization.js';
import type { Exchange } from './sasl.js';

/** @param challenge never used before, nor to be foreseen; angle brackets included */
export async function cramMd5(exchange: Exchange, challenge: string): Promise<Credentials> {
  exchange.mustNotHaveBegun();
  const response = await exchange.challenge(challenge);
  // The digest has no space, a name may have one.
  const space = response.lastIndexOf(' ');
  const digest = response.toString('latin1', space + 1);
  if (space < 1 || !/^[0-9a-f]{32}$/.test(digest)) throw new BadRequest('not a CRAM-MD5 response');
  return { method: 'CRAM-MD5', user: response.subarray(0, space), challenge, digest };
}

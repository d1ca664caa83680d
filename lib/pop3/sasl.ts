/**
 * A SASL exchange as a mechanism sees it: challenges out, responses in, both octets. RFC 5034 §4, RFC 4422.
 *
 * Invariant: a response is taken only in the one spelling that base64 gives it; anything else ends the
 * exchange, as does `*`. What a client sends in an exchange is never run as a command.
 */
import { BadRequest } from '../errors.js';

/**
 * Longest line of an exchange in octets, its end included; RFC 5034 §4 wants it apart from commands. With a record
 * of TLS around it, it is still within what may be held of somebody who has not logged in, which is 16 KiB.
 */
export const MAX_RESPONSE = 15 * 1024;

/** Sends `+ challenge`, and gives the line that answers it, without its end. */
export type Ask = (challenge: string) => Promise<Uint8Array>;

const CANCEL = '*';
/** RFC 5034 §4: an initial response that is there, but empty. */
const EMPTY_INITIAL = '=';

export class Exchange {
  /** @param initial the initial response as it came; undefined when there was none */
  constructor(
    private readonly ask: Ask,
    private initial: string | undefined,
  ) {}

  /** The first word of a mechanism where the client begins. RFC 5034 §4: else an empty challenge asks for it. */
  async first(): Promise<Buffer> {
    const { initial } = this;
    this.initial = undefined;
    if (initial === undefined) return this.challenge('');
    return initial === EMPTY_INITIAL ? Buffer.alloc(0) : decode(initial);
  }

  /** For a mechanism where the server begins. RFC 5034 §4: an initial response must be refused there. */
  mustNotHaveBegun(): void {
    if (this.initial !== undefined) throw new BadRequest('this mechanism has no initial response');
  }

  /** @throws BadRequest when the client cancels, or its answer is not base64 */
  async challenge(octets: Uint8Array | string): Promise<Buffer> {
    const line = Buffer.from(await this.ask(Buffer.from(octets).toString('base64'))).toString('latin1');
    if (line === CANCEL) throw new BadRequest('authentication cancelled');
    return decode(line);
  }
}

/**
 * RFC 4648 §4, padded, without anything else in it, and canonical (§3.5): bits that say nothing are zero.
 * @throws BadRequest for anything else
 */
export function decode(text: string): Buffer {
  const octets = decodeBase64(text);
  if (octets === undefined) throw new BadRequest('not base64');
  return octets;
}

/** `decode` that gives undefined. */
export function decodeBase64(text: string): Buffer | undefined {
  const octets = Buffer.from(text, 'base64');
  return octets.toString('base64') === text ? octets : undefined;
}

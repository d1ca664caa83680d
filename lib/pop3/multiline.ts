/**
 * The wire form of a multi-line reply's content: byte-stuffed, then the terminator. RFC 1939 §3.
 *
 * Invariant: the terminator is only made after exactly the octets that were promised, ending in CRLF.
 * Anything else throws before it, so that a broken message can never look like a complete one.
 * A chunk in which no line begins with a dot is passed on as it is.
 */

const DOT = 0x2e;
const LF = 0x0a;
const CR = 0x0d;

/** RFC 1939 §3: the termination octet and a CRLF. */
export const TERMINATOR = Buffer.from('.\r\n', 'latin1');

/** The content was not what its maildrop promised: a bug, or a mailbox that changed under us. */
export class BrokenContent extends Error {
  override readonly name = 'BrokenContent';
}

/** Byte-stuffs a stream of octets cut anywhere; the one thing carried is whether a line just began. */
export class DotStuffer {
  private atLineStart = true;

  /** `chunk` with a dot put before each dot that begins a line: the same array when there is none. */
  push(chunk: Uint8Array): Uint8Array {
    if (chunk.length === 0) return chunk;
    const octets = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    const dots: number[] = [];
    if (this.atLineStart && octets[0] === DOT) dots.push(0);
    for (let at = octets.indexOf('\n.'); at >= 0; at = octets.indexOf('\n.', at + 2)) dots.push(at + 1);
    this.atLineStart = octets[octets.length - 1] === LF;
    return dots.length === 0 ? chunk : insertDots(octets, dots);
  }
}

function insertDots(octets: Buffer, dots: readonly number[]): Uint8Array {
  const stuffed = Buffer.allocUnsafe(octets.length + dots.length);
  let from = 0;
  let to = 0;
  for (const dot of dots) {
    to += octets.copy(stuffed, to, from, dot);
    stuffed[to++] = DOT;
    from = dot;
  }
  octets.copy(stuffed, to, from);
  return stuffed;
}

/**
 * What follows the status line, terminator included. Each piece is only good until the next is asked for.
 * @param content the message with CRLF line ends, cut anywhere
 * @param promised how many octets it must have; unchecked when undefined (TOP)
 * @returns the number of octets of the content, before byte-stuffing
 * @throws BrokenContent, before the terminator; and whatever `content` throws
 */
export async function* multiline(
  content: AsyncIterable<Uint8Array>,
  promised?: number,
): AsyncGenerator<Uint8Array, number, void> {
  const stuffer = new DotStuffer();
  let octets = 0;
  let last = CR;
  let beforeLast = CR;
  for await (const chunk of content) {
    if (chunk.length === 0) continue;
    octets += chunk.length;
    if (promised !== undefined && octets > promised) {
      throw new BrokenContent(`more than the ${promised} octets promised`);
    }
    beforeLast = chunk.length > 1 ? (chunk[chunk.length - 2] ?? 0) : last;
    last = chunk[chunk.length - 1] ?? 0;
    yield stuffer.push(chunk);
  }
  if (promised !== undefined && octets !== promised) {
    throw new BrokenContent(`${octets} octets instead of the ${promised} promised`);
  }
  if (octets > 0 && (last !== LF || beforeLast !== CR)) throw new BrokenContent('no CRLF at the end');
  yield TERMINATOR;
  return octets;
}

/**
 * From octets to one command: `LineReader` cuts what the client sends into lines, `parseRequest` cuts
 * a line into its keyword and what follows. RFC 1939 §3, RFC 2449 §3-4.
 *
 * Invariant: of a line that is not complete, never more octets are kept than it may have, and no octet
 * is copied twice, however the stream is cut into chunks. The same octets give the same lines for
 * every cutting. A line handed out is a view: it is valid until the next `push`.
 */
import { BadRequest } from '../errors.js';

/** Longest command line in octets, its end included. RFC 2449 §4 asks for 255; some clients' PASS is longer. */
export const MAX_LINE = 512;

/** An over-long line is discarded up to its end, but of one line never more octets than this. */
export const MAX_DISCARDED = 64 * 1024;

/** `too-long`: the line passed its limit and is being discarded. `flooded`: also `MAX_DISCARDED`. */
export type Line = Uint8Array | 'too-long' | 'flooded';

const LF = 0x0a;
const CR = 0x0d;
const SP = 0x20;
const TAB = 0x09;
const NOTHING = Buffer.alloc(0);

export class LineReader {
  private chunk: Buffer = NOTHING;
  private position = 0;
  /** The start of a line whose end was not in the chunks so far; allocated only when there is one. */
  private partial: Buffer | undefined;
  private held = 0;
  /** Octets of the line being discarded, or undefined when none is. */
  private discarded: number | undefined;

  /** Whether octets have been given that were not part of a line handed out. */
  get pending(): boolean {
    return this.position < this.chunk.length || this.partial !== undefined || this.discarded !== undefined;
  }

  /** Octets held: of the chunk at hand all, and the start of a line that was before it. */
  get octets(): number {
    return this.chunk.length + this.held;
  }

  /** Gives the next octets of the stream. Only when `next()` has returned undefined. */
  push(chunk: Uint8Array): void {
    if (this.position < this.chunk.length) throw new Error('LineReader.push before next() ran dry');
    this.chunk = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    this.position = 0;
  }

  /**
   * The next line, without its end (CRLF, or a bare LF, which several scripts send), or undefined when
   * more octets are needed. An over-long line gives one `too-long`, as soon as it is known to be one,
   * and nothing for its rest, unless that grows to `flooded`.
   * @param longest octets a line may have, its end included; not less than for the start of it that is held
   */
  next(longest = MAX_LINE): Line | undefined {
    const start = this.position;
    if (start === this.chunk.length) {
      this.chunk = NOTHING; // An idle session keeps no chunk alive.
      this.position = 0;
      return undefined;
    }
    const end = this.chunk.indexOf(LF, start);
    const stop = end < 0 ? this.chunk.length : end + 1;
    if (this.discarded !== undefined) return this.discard(start, stop, end >= 0, longest);
    const length = this.held + stop - start;
    // Without an LF, `longest` octets are already one too many.
    if (length > longest || (end < 0 && length === longest)) return this.startDiscarding();
    this.position = stop;
    if (end < 0) {
      this.partial ??= Buffer.allocUnsafe(longest);
      this.held += this.chunk.copy(this.partial, this.held, start);
      this.chunk = NOTHING;
      this.position = 0;
      return undefined;
    }
    if (this.partial === undefined) return withoutEnd(this.chunk.subarray(start, stop));
    this.chunk.copy(this.partial, this.held, start, stop);
    const line = this.partial.subarray(0, length);
    this.partial = undefined;
    this.held = 0;
    return withoutEnd(line);
  }

  private startDiscarding(): Line {
    this.discarded = this.held;
    this.partial = undefined;
    this.held = 0;
    return 'too-long';
  }

  private discard(start: number, stop: number, complete: boolean, longest: number): Line | undefined {
    const before = this.discarded ?? 0;
    const after = before + stop - start;
    this.position = stop;
    this.discarded = complete ? undefined : after;
    if (before <= MAX_DISCARDED && after > MAX_DISCARDED) return 'flooded';
    return complete ? this.next(longest) : undefined;
  }
}

/** Strips LF, and one CR before it. */
function withoutEnd(line: Buffer): Buffer {
  const last = line.length - 1;
  return line.subarray(0, last > 0 && line[last - 1] === CR ? last - 1 : last);
}

const PROXY = Buffer.from('PROXY ', 'latin1');

/**
 * Whether a line is of a PROXY header, where none is expected: version 1 is one, and of version 2 the third is
 * a NUL, behind two that are empty. Such a client is a front end that was not configured, or a forger.
 * @param badBefore how many bad lines came just before
 */
export function isProxyHeader(line: Uint8Array, badBefore: number): boolean {
  if (line.length === 1) return line[0] === 0 && badBefore >= 2;
  return line.length > PROXY.length && PROXY.equals(line.subarray(0, PROXY.length));
}

/** A command line taken apart: the keyword in upper case, and where what follows it begins and ends. */
export interface Request {
  readonly keyword: string;
  readonly line: Uint8Array;
  /** Index of the octet after the keyword: a space, or the end. */
  readonly start: number;
  /** End of the line without trailing blanks. */
  readonly end: number;
}

/**
 * Cuts a line into keyword and arguments. Blanks at the end are ignored: people with telnet and a few
 * old clients send `STAT ` or `LIST `, and they cannot mean anything else. PASS looks past `end`.
 * @throws BadRequest on NUL or CR inside the line (no argument may hold either), and on an empty line
 */
export function parseRequest(line: Uint8Array): Request {
  if (line.includes(0)) throw new BadRequest('NUL in command');
  if (line.includes(CR)) throw new BadRequest('CR in command');
  let end = line.length;
  while (end > 0 && (line[end - 1] === SP || line[end - 1] === TAB)) end--;
  if (end === 0) throw new BadRequest('empty command');
  const space = line.subarray(0, end).indexOf(SP);
  const start = space < 0 ? end : space;
  return { keyword: upperCase(line.subarray(0, start)), line, start, end };
}

/**
 * RFC 1939 §3: keywords are case-insensitive. ASCII letters only: String.toUpperCase would make PASS of
 * `PA` and a sharp s. Keywords have at most four characters, so longer ones need not be spelled out.
 */
function upperCase(octets: Uint8Array): string {
  if (octets.length > 4) return '';
  let keyword = '';
  for (const octet of octets) {
    keyword += String.fromCharCode(octet >= 0x61 && octet <= 0x7a ? octet - 0x20 : octet);
  }
  return keyword;
}

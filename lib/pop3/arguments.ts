/**
 * The argument grammar. Each parser takes what it needs from an `ArgumentReader` and throws
 * `BadRequest` when it is not there; a command row is a list of parsers, so that a handler only ever
 * sees checked values. RFC 1939 §3: arguments are separated by a single space; RFC 2449 §3 (param).
 *
 * Numbers are exactly `[1-9][0-9]*` (and `0` for a count): `01`, `+1`, `1x`, `1e0`, `0x1` are errors,
 * and a number that does not fit is no message, never another one.
 */
import { BadRequest } from '../errors.js';
import type { Request } from './request.js';

const SP = 0x20;

export class ArgumentReader {
  private position: number;

  constructor(private readonly request: Request) {
    this.position = request.start;
  }

  get atEnd(): boolean {
    return this.position >= this.request.end;
  }

  /** The next argument: one space, then everything up to the next space or the end. */
  word(): Uint8Array {
    if (this.atEnd) throw new BadRequest('missing argument');
    const { line, end } = this.request;
    const start = this.position + 1;
    const space = line.subarray(0, end).indexOf(SP, start);
    this.position = space < 0 ? end : space;
    if (this.position === start) throw new BadRequest('arguments are separated by a single space');
    return line.subarray(start, this.position);
  }

  /** Everything after one space, further spaces included, also at the end. */
  rest(): Uint8Array {
    const { line } = this.request;
    if (this.position + 1 >= line.length) throw new BadRequest('missing argument');
    const rest = line.subarray(this.position + 1);
    this.position = line.length;
    return rest;
  }
}

export type Parser<T> = (args: ArgumentReader) => T;

function digits(word: Uint8Array): number | undefined {
  for (const octet of word) if (octet < 0x30 || octet > 0x39) return undefined;
  if (word[0] === 0x30 && word.length > 1) return undefined;
  return Number(Buffer.from(word).toString('latin1'));
}

/** A message-number: `[1-9][0-9]*`. One beyond 2^53 is no message of anybody's. */
export const messageNumber: Parser<number> = args => {
  const n = digits(args.word());
  if (n === undefined || n === 0) throw new BadRequest('not a message-number');
  if (n > Number.MAX_SAFE_INTEGER) throw new BadRequest('no such message');
  return n;
};

/** TOP's number of lines: `0` or `[1-9][0-9]*`; one beyond 2^53 means all, as any large one does. */
export const lineCount: Parser<number> = args => {
  const lines = digits(args.word());
  if (lines === undefined) throw new BadRequest('not a number of lines');
  return Math.min(lines, Number.MAX_SAFE_INTEGER);
};

/** The argument if there is one. */
export function optional<T>(parser: Parser<T>): Parser<T | undefined> {
  return args => (args.atEnd ? undefined : parser(args));
}

/** A mailbox name: any octets but the space, copied, because it outlives its line. */
export const name: Parser<Uint8Array> = args => Uint8Array.from(args.word());

/** Any octets but the space, as text of one character per octet. */
export const text: Parser<string> = args => Buffer.from(args.word()).toString('latin1');

/**
 * PASS's argument. RFC 1939 §7 (PASS): exactly one argument, so spaces are part of it, leading and
 * trailing ones too. An empty one is refused here: no backend is ever asked about an empty password.
 */
export const restOfLine: Parser<Uint8Array> = args => args.rest();

/** APOP's digest. RFC 1939 §7 (APOP): 16 octets in hexadecimal, lower-case. */
export const digest: Parser<string> = args => {
  const text = Buffer.from(args.word()).toString('latin1');
  if (!/^[0-9a-f]{32}$/.test(text)) throw new BadRequest('not a digest');
  return text;
};

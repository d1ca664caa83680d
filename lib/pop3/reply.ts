/**
 * Replies are values: handlers make them, the session sends them. Here is also how the first line of
 * one is spelled. RFC 1939 §3, RFC 2449 §3 and §8, RFC 3206.
 *
 * Invariant: a status line is printable ASCII, one line, at most 512 octets with its CRLF, always has
 * a text (RFC 1957: old clients need the space after `+OK`), and only a response code begins with `[`.
 * No text is ever built from octets the client sent.
 */
import type { ResponseCode } from '../errors.js';
import type { ScanListing } from './listing.js';
import type { MessageReader } from './ports.js';

/** Longest status line in octets, CRLF included. RFC 1939 §3. */
export const MAX_STATUS = 512;

/** The message after a positive status line. */
export interface Content {
  readonly command: 'RETR' | 'TOP';
  readonly message: MessageReader;
  /** What LIST said; anything else may not end as a complete message. */
  readonly octets?: number;
}

export interface Reply {
  readonly ok: boolean;
  readonly text: string;
  readonly code?: ResponseCode;
  /** The lines after the status line, without CRLF; a few, and none begins with a dot. */
  readonly listing?: Iterable<string>;
  /** A line for each message. */
  readonly scan?: ScanListing;
  readonly content?: Content;
  /**
   * What happens once this is said; `update` is done before, and decides what is said. `tls`: the octets that
   * follow are a TLS handshake.
   */
  readonly next?: 'transaction' | 'update' | 'close' | 'tls';
}

type Extras = Pick<Reply, 'listing' | 'scan' | 'content' | 'next'>;

export function ok(text: string, extras: Extras = {}): Reply {
  return { ok: true, text, ...extras };
}

export function err(text: string, extras: Pick<Reply, 'code' | 'next'> = {}): Reply {
  return { ok: false, text, ...extras };
}

/** What a text cannot have, or only behind a response code. */
const UNUSUAL = /[^\x20-\x5a\x5c-\x7e]/;

/** The status line of a reply, with its CRLF. */
export function statusLine(reply: Pick<Reply, 'ok' | 'text' | 'code'>): string {
  const status = reply.ok ? '+OK ' : '-ERR ';
  if (!reply.code && reply.text !== '' && !UNUSUAL.test(reply.text)) {
    return `${(status + reply.text).slice(0, MAX_STATUS - 2)}\r\n`;
  }
  // Texts of `Unavailable` come from other rooms: whatever they hold, the line stays a line.
  const text = reply.text.replace(/[^\x20-\x7e]/g, '?') || (reply.ok ? 'done' : 'failed');
  // RFC 2449 §3 (schar): without a response code there is no `[` in the text at all.
  const line = status + (reply.code ? `[${reply.code}] ${text}` : text.replaceAll('[', '('));
  return `${line.slice(0, MAX_STATUS - 2)}\r\n`;
}

/** `1 message`, `2 messages`. */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}

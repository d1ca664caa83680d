/** Shorthand for tests of lib/mbox: a whole mailbox in, everything about it out. */
import type { Extent, MailboxIndex } from '../../lib/mbox/mailbox-index.js';
import { Scanner } from '../../lib/mbox/scanner.js';
import { BODY_SAMPLE, IdentityDigest } from '../../lib/mbox/unique-id.js';
import { WireForm } from '../../lib/mbox/wire.js';

/** Lengths of chunks, used over and over; each at least 1. */
export type Cutting = readonly number[];

export function* cut(bytes: Uint8Array, cutting: Cutting): Generator<Uint8Array> {
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = cutting[i % cutting.length]!;
    // A copy of its own, so that a chunk kept too long shows.
    yield Uint8Array.prototype.slice.call(bytes, at, at + size);
    at += size;
  }
}

export function scan(file: Uint8Array, cutting: Cutting = [65536]): MailboxIndex {
  const scanner = new Scanner();
  for (const chunk of cut(file, cutting)) {
    scanner.push(chunk);
    chunk.fill(0x58);
  }
  return scanner.end();
}

export function extents(index: MailboxIndex): Extent[] {
  return Array.from({ length: index.messages }, (_, i) => index.extent(i + 1));
}

export function wire(file: Uint8Array, e: Extent, cutting: Cutting = [65536], bodyLines?: number): Buffer {
  const form = new WireForm(bodyLines === undefined ? {} : { bodyLines });
  const out: Uint8Array[] = [];
  for (const chunk of cut(file.subarray(e.header, e.contentEnd), cutting)) out.push(form.encode(chunk));
  out.push(form.finish());
  return Buffer.concat(out);
}

export function identity(file: Uint8Array, e: Extent, cutting: Cutting = [65536]): string {
  const digest = new IdentityDigest(e.bodyOctets);
  const sample = Math.min(e.contentEnd, e.body + BODY_SAMPLE);
  for (const chunk of cut(file.subarray(e.start, sample), cutting)) digest.push(chunk);
  return digest.end();
}

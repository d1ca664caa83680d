/** Shorthand for tests of lib/mbox: a whole mailbox in, everything about it out. */
import { Kernel, loadKernel } from '../../lib/mbox/kernel/kernel.js';
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

/** The kernels, which must be there: a test of them that runs without proves nothing. */
export function requireKernel(): Kernel {
  const kernel = loadKernel();
  if (!(kernel instanceof Kernel)) throw kernel;
  return kernel;
}

/** The same by the kernel: every chunk at another place in its memory, among line ends. */
export function scanFast(kernel: Kernel, file: Uint8Array, cutting: Cutting = [65536]): MailboxIndex {
  const scanner = new Scanner(kernel);
  const slot = kernel.memory.take()!;
  let skew = 0;
  try {
    for (const chunk of cut(file, cutting)) {
      skew = (skew + 7) % 64;
      const place = slot.subarray(0, chunk.length + 192).fill(skew % 2 === 0 ? '\n' : 'From');
      place.set(chunk, 64 + skew);
      scanner.push(place.subarray(64 + skew, 64 + skew + chunk.length));
    }
    return scanner.end();
  } finally {
    kernel.memory.giveBack(slot);
  }
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

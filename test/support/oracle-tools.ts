/** Shorthand for tests of lib/mbox: a whole mailbox in, everything about it out. */

import { asBuffer } from '../../lib/mbox/bytes.js';
import { Kernel, loadKernel } from '../../lib/mbox/kernel/kernel.js';
import type { Extent, MailboxIndex } from '../../lib/mbox/mailbox-index.js';
import { Scanner } from '../../lib/mbox/scanner.js';
import {
  BODY_SAMPLE,
  IDENTITY,
  IdentityDigest,
  identityByKernel,
  identityIn,
} from '../../lib/mbox/unique-id.js';
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

export function scan(file: Uint8Array, cutting: Cutting = [65536], most?: number): MailboxIndex {
  const scanner = new Scanner();
  for (const chunk of cut(file, cutting)) {
    pushAll(scanner, chunk, most);
    chunk.fill(0x58);
  }
  return scanner.end();
}

/** @param most of messages, for each call */
function pushAll(scanner: Scanner, chunk: Uint8Array, most?: number): void {
  for (let at = 0; at < chunk.length; ) {
    const taken = scanner.push(chunk.subarray(at), most);
    if (taken === 0 || (most === undefined && taken < chunk.length)) throw new Error(`took ${taken} octets`);
    at += taken;
  }
}

/** The kernels, which must be there: a test of them that runs without proves nothing. */
export function requireKernel(): Kernel {
  const kernel = loadKernel();
  if (!(kernel instanceof Kernel)) throw kernel;
  return kernel;
}

/** The same by the kernel: every chunk at another place in its memory, among line ends. */
export function scanFast(
  kernel: Kernel,
  file: Uint8Array,
  cutting: Cutting = [65536],
  most?: number,
): MailboxIndex {
  const scanner = new Scanner(kernel);
  const slot = kernel.memory.take()!;
  let skew = 0;
  try {
    for (const chunk of cut(file, cutting)) {
      skew = (skew + 7) % 64;
      const place = slot.subarray(0, chunk.length + 192).fill(skew % 2 === 0 ? '\n' : 'From');
      place.set(chunk, 64 + skew);
      pushAll(scanner, place.subarray(64 + skew, 64 + skew + chunk.length), most);
    }
    return scanner.end();
  } finally {
    kernel.memory.giveBack(slot);
  }
}

export function extents(index: MailboxIndex): Extent[] {
  return Array.from({ length: index.messages }, (_, i) => index.extent(i + 1));
}

/** The wire form without byte-stuffing, for which kernel and twin have to be of one mind. */
export function wire(file: Uint8Array, e: Extent, cutting: Cutting = [65536], bodyLines?: number): Buffer {
  const options = bodyLines === undefined ? {} : { bodyLines };
  const twin = wireBy(new WireForm(options), file, e, cutting);
  const kernel = requireKernel();
  if (!wireBy(new WireForm({ ...options, kernel }), file, e, cutting).equals(twin))
    throw new Error('not its twin');
  return twin;
}

function wireBy(form: WireForm, file: Uint8Array, e: Extent, cutting: Cutting): Buffer {
  const pieces: Buffer[] = [];
  for (const chunk of cut(file.subarray(e.header, e.contentEnd), cutting)) {
    if (!form.done) pieces.push(encode(form, chunk));
  }
  pieces.push(encode(form));
  const stuffed = Buffer.concat(pieces).toString('latin1');
  const out = stuffed.replace(/(^|\n)\./g, '$1');
  if (out.replace(/(^|\n)\./g, '$1..') !== stuffed) throw new Error(`not stuffed: ${stuffed}`);
  if (form.octets !== out.length) throw new Error(`${out.length} octets, said to be ${form.octets}`);
  return Buffer.from(out, 'latin1');
}

/** What calls of `encode` for a chunk give, in no more room than they need, or `finish` without one. */
export function encode(form: WireForm, chunk?: Uint8Array): Buffer {
  if (!chunk) return given(form.finish(form.done ? EMPTY : ROOM.fill('#')));
  const pieces: Buffer[] = [];
  for (let at = 0; at < chunk.length && !form.done; at += form.taken) {
    pieces.push(given(form.encode(chunk.subarray(at), ROOM.fill('#'))));
  }
  return Buffer.concat(pieces);
}

const EMPTY = Buffer.alloc(0);
const ROOM = Buffer.alloc(WireForm.leastRoom);

function given(length: number): Buffer {
  if (length > ROOM.length) throw new Error(`${length} octets into ${ROOM.length}`);
  return Buffer.from(ROOM.subarray(0, length));
}

/** The identity by the digest that is pushed, which has to be that of the octets in one piece, and the kernel's. */
export function identity(file: Uint8Array, e: Extent, cutting: Cutting = [65536]): string {
  const digest = new IdentityDigest(e.bodyOctets);
  const sample = file.subarray(e.start, Math.min(e.contentEnd, e.body + BODY_SAMPLE));
  for (const chunk of cut(sample, cutting)) digest.push(chunk);
  const pushed = digest.end();
  const whole = identityIn(asBuffer(sample), e.bodyOctets);
  if (whole !== pushed) throw new Error(`identity ${pushed} by parts, ${whole} in one piece`);
  const { byKernel, surely } = identityFast(sample, e);
  if (byKernel === undefined ? surely : byKernel !== pushed)
    throw new Error(`identity ${pushed}, ${byKernel} by the kernel`);
  return pushed;
}

let skew = 0;

/** The same by the kernel, wherever it is in its memory; `surely`: of what it need not leave to the twin. */
function identityFast(sample: Uint8Array, e: Extent): { byKernel: string | undefined; surely: boolean } {
  const { memory } = requireKernel();
  if (sample.length > memory.slotSize / 2) return { byKernel: undefined, surely: false };
  const slot = memory.take()!;
  try {
    skew = (skew + 7) % 64;
    slot.subarray(0, sample.length + 192).fill(skew % 2 === 0 ? '\nStatus: x\n\n' : 'Lines: ');
    slot.set(sample, 64 + skew);
    const into = Buffer.alloc(3 * IDENTITY, 0xa5);
    const end = e.start + sample.length;
    const is = identityByKernel(requireKernel(), slot.byteOffset + 64 + skew, e, end, into, IDENTITY);
    const [before, made, after] = [0, 1, 2].map(n => into.toString('hex', n * IDENTITY, (n + 1) * IDENTITY));
    if (before !== after || is === 'changed') throw new Error(`the kernel: ${is}`);
    const byKernel = is === 'made' ? made : undefined;
    return { byKernel, surely: !sample.includes(0x0d) && sample.at(-1) === 0x0a };
  } finally {
    memory.giveBack(slot);
  }
}

/**
 * Reads what identifies each message: its From_ line, its header and the first octets of its body. One pass in
 * file order; neighbours are read at once, the next ones while these are digested, and long bodies are left out.
 */
import { crc32 } from 'node:zlib';
import { Unavailable } from '../errors.js';
import { asBuffer } from '../mbox/bytes.js';
import type { Kernel } from '../mbox/kernel/kernel.js';
import type { Extent, MailboxIndex } from '../mbox/mailbox-index.js';
import { BODY_SAMPLE, IDENTITY, IdentityDigest, identityByKernel, identityIn } from '../mbox/unique-id.js';
import type { MailboxFile } from './mailbox-file.js';
import { othersTurn, TURN } from './others-turn.js';

/** Octets read at a time. */
const WINDOW = 256 * 1024;

/** Octets that are sooner read than a call is made to leave them out: from a disk... */
const GAP = 64 * 1024;
/** ...and from memory. */
const NEAR = 8 * 1024;

/** Messages that are read together. */
interface Run {
  readonly extents: Extent[];
  readonly start: number;
  end: number;
}

/**
 * The identities of all messages from `first` on, in order, behind each other (`mbox/unique-id.ts`).
 * @throws Unavailable SYS/TEMP (fatal) when a header is not the one that was indexed
 */
export async function identitiesOf(file: MailboxFile, index: MailboxIndex, first = 1): Promise<Buffer> {
  const identities = Buffer.allocUnsafe((index.messages - first + 1) * IDENTITY);
  let made = 0;
  let since = performance.now();
  for await (const { extents, start, end, octets } of samples(file, runsOf(index, first))) {
    for (const extent of extents) {
      if (end - start > WINDOW) identities.write(await identifyLong(file, extent), made, 'hex');
      else identify(octets, extent.start - start, extent, file.kernel, identities, made);
      made += IDENTITY;
    }
    if (performance.now() - since < TURN) continue;
    await othersTurn();
    since = performance.now();
  }
  return identities;
}

/** The identity of one message, in hexadecimal. */
export async function identityOf(file: MailboxFile, index: MailboxIndex, n: number): Promise<string> {
  const extent = index.extent(n);
  const end = sampleEnd(extent);
  if (end - extent.start > WINDOW) return identifyLong(file, extent);
  return identifyByTwin(asBuffer(await file.read(extent.start, end)), extent);
}

function sampleEnd({ body, contentEnd }: Extent): number {
  return Math.min(contentEnd, body + BODY_SAMPLE);
}

/** A run fits a window, unless it is a single message. */
function* runsOf(index: MailboxIndex, first: number): Generator<Run> {
  let run: Run | undefined;
  for (let n = first; n <= index.messages; n++) {
    const extent = index.extent(n);
    const end = sampleEnd(extent);
    if (run !== undefined && extent.start - run.end <= GAP && end - run.start <= WINDOW) {
      run.extents.push(extent);
      run.end = end;
    } else {
      if (run !== undefined) yield run;
      run = { extents: [extent], start: extent.start, end };
    }
  }
  if (run !== undefined) yield run;
}

/**
 * Reads the runs, always one ahead: of what is in memory only the samples, of the rest all of it, as a disk has it. The
 * octets of a run are gone when the next one is asked for.
 */
async function* samples(file: MailboxFile, runs: Iterator<Run>): AsyncGenerator<Run & { octets: Buffer }> {
  const slot = file.kernel?.memory.take();
  const room = slot ?? Buffer.allocUnsafeSlow(2 * WINDOW);
  const read = async (turn: number) => {
    const { value: run, done } = runs.next();
    if (done === true) return undefined;
    const [from, length] = [(turn % 2) * WINDOW, run.end - run.start];
    // A single message, that is read piece by piece.
    if (length > WINDOW) return { ...run, octets: room.subarray(0, 0) };
    const octets = room.subarray(from, from + length);
    if (readCachedSamples(file, run, octets)) return { ...run, octets };
    return { ...run, octets: octets.subarray(0, await file.readInto(octets, run.start)) };
  };
  let turn = 0;
  let coming = read(turn);
  try {
    for (let run = await coming; run !== undefined; run = await coming) {
      coming = read(++turn);
      // It is asked for later, and must not pass for an error that nobody sees until then.
      coming.catch(() => {});
      yield run;
    }
  } finally {
    // Nobody may close the file before that, or have the memory; nor is there anybody to tell.
    await coming.catch(() => {});
    if (slot) file.kernel?.memory.giveBack(slot);
  }
}

/** @returns whether all samples were in memory, and are in `octets` where they are in the run */
function readCachedSamples(file: MailboxFile, { extents, start }: Run, octets: Buffer): boolean {
  let from = start;
  let to = start;
  for (const extent of extents) {
    if (extent.start - to > NEAR) {
      if (!file.readCached(octets.subarray(from - start, to - start), from)) return false;
      from = extent.start;
    }
    to = sampleEnd(extent);
  }
  return file.readCached(octets.subarray(from - start, to - start), from);
}

/** @param octets of which those from `at` on are [start, sampleEnd) of the message */
function identify(
  octets: Buffer,
  at: number,
  extent: Extent,
  kernel: Kernel | undefined,
  into: Buffer,
  intoAt: number,
): void {
  const end = sampleEnd(extent);
  const length = end - extent.start;
  const address = kernel?.addressOf(octets) ?? -1;
  // What was not read, because the file has become shorter, is for the twin to miss.
  if (kernel !== undefined && address >= 0 && at + length <= octets.length) {
    const is = identityByKernel(kernel, address + at, extent, end, into, intoAt);
    if (is === 'changed') throw changed();
    if (is === 'made') return;
  }
  into.write(identifyByTwin(octets.subarray(at, at + length), extent), intoAt, 'hex');
}

/** @param sample [start, sampleEnd) of the message */
function identifyByTwin(sample: Buffer, { start, body, bodyOctets, headerCrc }: Extent): string {
  if (crc32(sample.subarray(0, body - start)) !== headerCrc) throw changed();
  return identityIn(sample, bodyOctets);
}

/** Of a message whose header does not fit a window. */
async function identifyLong(file: MailboxFile, extent: Extent): Promise<string> {
  const { start, body, bodyOctets, headerCrc } = extent;
  const digest = new IdentityDigest(bodyOctets);
  const end = sampleEnd(extent);
  let crc = 0;
  for (let position = start; position < end; ) {
    // Stops at the body, so that the checksum covers exactly the header.
    const stop = Math.min(position + WINDOW, position < body ? body : end);
    const chunk = await file.read(position, stop);
    if (chunk.length === 0) break;
    if (position < body) crc = crc32(chunk, crc);
    digest.push(chunk);
    position += chunk.length;
  }
  if (crc !== headerCrc) throw changed();
  return digest.end();
}

function changed(): Unavailable {
  return new Unavailable('SYS/TEMP', 'mailbox was changed by another program', { fatal: true });
}

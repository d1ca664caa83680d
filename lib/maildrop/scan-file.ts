/**
 * Reads a mailbox file through, in one pass of bounded memory, to index it. What is in the page cache is copied by
 * this thread, straight to where the kernels look at it: no other could begin before that one was awake. What is not
 * comes by way of libuv's pool. Either way others have their turn every few milliseconds, however many scans there are.
 */
import type { Kernel } from '../mbox/kernel/kernel.js';
import type { MailboxIndex } from '../mbox/mailbox-index.js';
import { Scanner } from '../mbox/scanner.js';
import { readFully, type SpoolIo } from './io.js';
import { othersTurn, TURN } from './others-turn.js';

/** Octets read at a time: with half of it the calls for them show, and the messages that are cut. */
export const SCAN_CHUNK = 1024 * 1024;

/** Messages gone through before looking at the time, or empty lines in them. */
const PIECE = 1000;

export interface ScanOptions {
  /** Where to begin; offsets in the index are from there. Default: at the start. */
  readonly from?: number;
  /** Where to end: what the caller knows to be the end of the file, which then need not be looked for. */
  readonly size?: number;
  /** Given the same octets, for whoever looks for something else in them. */
  readonly alsoTo?: { push(bytes: Uint8Array): void };
}

export interface ScannedFile {
  readonly io: SpoolIo;
  readonly fd: number;
  /** Undefined for the twins in TypeScript. */
  readonly kernel: Kernel | undefined;
}

/** @throws NotMbox when the first line is no From_ line, and what reading throws */
export async function scanFile(
  { io, fd, kernel }: ScannedFile,
  { from = 0, size = Number.POSITIVE_INFINITY, alsoTo }: ScanOptions,
): Promise<MailboxIndex> {
  const scanner = new Scanner(kernel);
  const slot = kernel?.memory.take();
  const buffer = (slot ?? Buffer.allocUnsafe(Math.min(SCAN_CHUNK, size - from))).subarray(0, SCAN_CHUNK);
  let since = performance.now();
  try {
    for (let position = from; ; ) {
      const into = size - position < buffer.length ? buffer.subarray(0, size - position) : buffer;
      let count = io.readCached?.(fd, into, position) ?? 0;
      if (count < into.length) {
        count += await readFully(io, fd, into.subarray(count), position + count);
        since = performance.now();
      }
      position += count;
      for (let at = 0; at < count; ) {
        const octets = seen(kernel, into.subarray(at, count));
        const taken = scanner.push(octets, PIECE);
        alsoTo?.push(octets.subarray(0, taken));
        at += taken;
        if (performance.now() - since < TURN) continue;
        await othersTurn();
        since = performance.now();
      }
      if (count < into.length || position >= size) return scanner.end();
    }
  } finally {
    if (slot) kernel?.memory.giveBack(slot);
  }
}

/** The same octets where the kernels can see them. @returns good until the caller awaits */
function seen(kernel: Kernel | undefined, octets: Buffer): Buffer {
  return kernel === undefined || kernel.addressOf(octets) >= 0 ? octets : kernel.memory.borrow(octets);
}

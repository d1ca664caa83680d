/**
 * Unique-ids (RFC 1939 §7, UIDL): 1 to 70 characters of 0x21 to 0x7E that stay with a message for as
 * long as it exists, although nothing is ever written into the mailbox file for them.
 *
 * An identity is a digest of what no program changes: the From_ line, the header without volatile
 * fields, and how the body begins and how long it is. Line ends are not part of it, and neither is a
 * missing final newline: other programs that rewrite the file change both.
 * Messages that are alike in all of that are told apart in `ordinals.ts`.
 */
import { createHash, hash } from 'node:crypto';
import { asBuffer, CR, findLf, LF } from './bytes.js';
import { HeaderFilter } from './header-filter.js';
import type { Kernel } from './kernel/kernel.js';
import type { Extent } from './mailbox-index.js';
import { VOLATILE_FIELDS } from './metadata.js';

/** Octets of an identity. */
export const IDENTITY = 16;

/** Octets of the body, as they are in the file, that an identity needs at most. */
export const BODY_SAMPLE = 1024;

/** Octets of the body that are digested, without CRs of line ends: CRLF can halve a sample. */
const BODY_DIGESTED = BODY_SAMPLE / 2;

const NEWLINE = Buffer.of(LF);

/** The identity of one message. */
export class IdentityDigest {
  readonly #hash = createHash('sha256');
  readonly #filter = new HeaderFilter(VOLATILE_FIELDS, (bytes, start, end, hidden) => {
    if (!hidden) this.#update(bytes, start, end);
  });
  #part: 'from-line' | 'header' | 'body' = 'from-line';
  /** A CR was the last octet: whether it counts depends on the next. */
  #heldCr = false;
  #bodyDigested = 0;
  #last = LF;

  /** @param bodyOctets `Extent.bodyOctets`, which is the same for LF and CRLF line ends */
  constructor(private readonly bodyOctets: number) {}

  /**
   * Takes the next octets of [start, body) of an extent, then of the first BODY_SAMPLE octets of
   * [body, contentEnd), or all if they are fewer.
   */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const chunk = asBuffer(bytes);
    let at = 0;
    if (this.#part === 'from-line') {
      const lf = findLf(chunk, 0);
      at = lf < 0 ? chunk.length : lf + 1;
      this.#update(chunk, 0, at);
      if (lf >= 0) this.#part = 'header';
    }
    if (this.#part === 'header' && at < chunk.length) {
      at = this.#filter.push(chunk, at);
      if (this.#filter.done) this.#endHeader();
    }
    if (this.#part === 'body') this.#update(chunk, at, chunk.length);
    this.#last = chunk[chunk.length - 1]!;
  }

  /** The identity: 32 lower-case hexadecimal digits, 128 bits of SHA-256. */
  end(): string {
    if (this.#last !== LF && (this.#part !== 'body' || this.#bodyDigested < BODY_DIGESTED))
      this.push(NEWLINE);
    if (this.#part !== 'body') this.#endHeader();
    return this.#hash.digest('hex').slice(0, 32);
  }

  /** The empty line counts alike whether it is there or was taken for the separator. */
  #endHeader(): void {
    this.#hash.update(`\n${this.bodyOctets}\n`);
    this.#heldCr = false;
    this.#part = 'body';
  }

  /** Digests [start, end) without the CRs of line ends. */
  #update(bytes: Buffer, start: number, end: number): void {
    let run = start;
    for (let at = start; at < end; at++) {
      if (this.#heldCr) {
        this.#heldCr = false;
        if (bytes[at] !== LF) this.#digest(Buffer.of(CR), 0, 1);
      }
      if (bytes[at] !== CR) continue;
      this.#digest(bytes, run, at);
      this.#heldCr = true;
      run = at + 1;
    }
    this.#digest(bytes, run, end);
  }

  #digest(bytes: Buffer, start: number, end: number): void {
    let stop = end;
    if (this.#part === 'body') {
      stop = Math.min(end, start + BODY_DIGESTED - this.#bodyDigested);
      this.#bodyDigested += Math.max(0, stop - start);
    }
    if (stop > start) this.#hash.update(bytes.subarray(start, stop));
  }
}

/** Where an identity of one piece is put together; between two calls it holds nothing. */
const SCRATCH = Buffer.allocUnsafeSlow(64 * 1024);

/**
 * What `IdentityDigest` makes of the same octets when they are at hand in one piece, several times as fast.
 * @param octets [start, body) of an extent and the first BODY_SAMPLE octets of [body, contentEnd)
 */
export function identityIn(octets: Buffer, bodyOctets: number): string {
  const length = octets.includes(CR) ? undefined : gather(octets, bodyOctets);
  if (length !== undefined) return hash('sha256', SCRATCH.subarray(0, length), 'hex').slice(0, 32);
  const digest = new IdentityDigest(bodyOctets);
  digest.push(octets);
  return digest.end();
}

/** Puts what is digested into SCRATCH. @returns how much it is; undefined for what is not the usual case */
function gather(octets: Buffer, bodyOctets: number): number | undefined {
  if (octets.length > SCRATCH.length / 2) return undefined;
  let at = octets.indexOf(LF) + 1;
  if (at === 0) return undefined;
  let length = 0;
  let run = 0;
  let hiding = false;
  let body = -1;
  const flush = () => {
    if (!hiding) length += octets.copy(SCRATCH, length, run, at);
    run = at;
  };
  while (at < octets.length) {
    const kind = VOLATILE_FIELDS.judge(octets, at, octets.length);
    if (kind === 'undecided') return undefined;
    if (kind === 'empty') {
      body = at + 1;
      break;
    }
    if (kind !== 'same' && hiding !== (kind === 'hidden')) {
      flush();
      hiding = !hiding;
    }
    at = octets.indexOf(LF, at) + 1;
    if (at === 0) return undefined;
  }
  flush();
  length += SCRATCH.write(`\n${bodyOctets}\n`, length, 'latin1');
  if (body < 0) return length;
  const stop = Math.min(octets.length, body + BODY_DIGESTED);
  length += octets.copy(SCRATCH, length, body, stop);
  const endsLine = stop === body || octets[stop - 1] === LF;
  if (stop - body < BODY_DIGESTED && !endsLine) length += SCRATCH.write('\n', length, 'latin1');
  return length;
}

/**
 * The same of octets in the kernel's memory, put where it is wanted.
 * @param address where the message begins there
 * @param end     offset in the file where its sample ends
 * @param into    where the IDENTITY octets go, from `at` on
 * @returns `changed` when [start, body) is not what was indexed; `unusual` when the twin must look at the sample
 */
export function identityByKernel(
  { exports, memory }: Kernel,
  address: number,
  { start, body, bodyOctets, headerCrc }: Extent,
  end: number,
  into: Buffer,
  at: number,
): 'made' | 'changed' | 'unusual' {
  const { shared } = memory;
  const [bodyAt, endAt] = [address + body - start, address + end - start];
  const length = exports.gatherIdentity(address, bodyAt, endAt, headerCrc, bodyOctets, shared.byteOffset);
  if (length < 0) return 'changed';
  if (length === 0) return 'unusual';
  // A string is quicker to make than a buffer.
  into.write(hash('sha256', shared.subarray(0, length), 'binary'), at, IDENTITY, 'binary');
  return 'made';
}

/** Identities that lie behind each other, each in hexadecimal. */
export function hexadecimal(identities: Buffer): string[] {
  const digits = identities.toString('hex');
  return Array.from({ length: identities.length / IDENTITY }, (_, i) =>
    digits.slice(i * 2 * IDENTITY, (i + 1) * 2 * IDENTITY),
  );
}

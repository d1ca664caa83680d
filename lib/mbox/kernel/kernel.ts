/**
 * The kernels: the inner loops over mail in WebAssembly with SIMD (`assembly/`), compiled and instantiated
 * once for all sessions; `binary.ts` is made by `npm run build`; nothing is read from a file at run time.
 *
 * How to use one: octets in linear memory (`memory.ts` leases slots of it, and files are read straight into
 * them) are found by `addressOf`, and gone through by a function of `exports`. A kernel keeps nothing between
 * two calls, so callers interleave as they like. Octets elsewhere go through the twin in TypeScript, which is
 * the reference: same octets in, same octets out, held by property tests. The twin alone also serves where
 * there is no WebAssembly, no SIMD, or no room for the memory, so whoever takes a `Kernel` takes undefined too.
 */
import { OFFSETS, SMALL } from '../mailbox-index.js';
import { METADATA, VOLATILE } from '../metadata.js';
import { BINARY } from './binary.js';
import { tellFields } from './field-names.js';
import { KernelMemory } from './memory.js';

/** What `assembly/index.ts` exports: addresses and counts are octets in linear memory. */
export interface KernelExports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly RESULT: { readonly value: number };
  readonly OFFSET_ROWS: { readonly value: number };
  readonly SMALL_ROWS: { readonly value: number };
  readonly MOST_ROWS: { readonly value: number };
  readonly FIRST_OCTETS: { readonly value: number };
  readonly HIDDEN_FIELDS: { readonly value: number };
  readonly VOLATILE_FIRSTS: { readonly value: number };
  readonly VOLATILE_FIELDS: { readonly value: number };
  readonly SLOTS: { readonly value: number };
  readonly SLOT_SIZE: { readonly value: number };
  readonly SLOT_COUNT: { readonly value: number };
  readonly BLOCKS: { readonly value: number };
  readonly BLOCK_SIZE: { readonly value: number };
  readonly BLOCK_COUNT: { readonly value: number };
  readonly PLACES: { readonly value: number };
  readonly PLACE_SIZE: { readonly value: number };
  readonly PLACE_COUNT: { readonly value: number };
  scanBody(start: number, end: number, before: number): number;
  scanHeader(start: number, end: number, crc: number): number;
  encodeWire(start: number, end: number, into: number, limit: number, state: number, lines: number): number;
  scanMessages(start: number, end: number, most: number, offset: number): number;
  checkRows(offsets: number, small: number, rows: number, after: number, size: number): number;
  gatherIdentity(
    start: number,
    body: number,
    end: number,
    crc: number,
    bodyOctets: number,
    into: number,
  ): number;
  /** The result is signed. */
  crc32(start: number, end: number, value: number): number;
}

export class Kernel {
  readonly memory: KernelMemory;
  /** Further results of the call that returned last, see each function in `assembly/`. */
  readonly results: Uint32Array;
  /** What `scanMessages` found, as `MailboxIndex` has it. */
  readonly offsets: Float64Array;
  readonly small: Uint32Array;
  /** How many rows there is room for. */
  readonly mostRows: number;

  constructor(readonly exports: KernelExports) {
    const { buffer } = exports.memory;
    this.memory = new KernelMemory(exports);
    this.results = new Uint32Array(buffer, exports.RESULT.value, 4);
    this.mostRows = exports.MOST_ROWS.value;
    this.offsets = new Float64Array(buffer, exports.OFFSET_ROWS.value, this.mostRows * OFFSETS);
    this.small = new Uint32Array(buffer, exports.SMALL_ROWS.value, this.mostRows * SMALL);
    const octets = ({ value }: { readonly value: number }, length: number) =>
      new Uint8Array(buffer, value, length);
    tellFields(METADATA, 16, octets(exports.FIRST_OCTETS, 256), octets(exports.HIDDEN_FIELDS, 1024));
    tellFields(VOLATILE, 32, octets(exports.VOLATILE_FIRSTS, 256), octets(exports.VOLATILE_FIELDS, 1024));
  }

  /** Where the first octet is in linear memory, or -1 when it is elsewhere. */
  addressOf(bytes: Uint8Array): number {
    return bytes.buffer === this.memory.buffer ? bytes.byteOffset : -1;
  }
}

/** Why there is no kernel. */
export class NoKernel extends Error {
  override readonly name = 'NoKernel';
}

/** The little of it that is used; the types of Node.js have none. */
interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}

let loaded: Kernel | NoKernel | undefined;

/** The one kernel, made at the first call; or why there is none. */
export function loadKernel(): Kernel | NoKernel {
  loaded ??= instantiate();
  return loaded;
}

function instantiate(): Kernel | NoKernel {
  const { WebAssembly } = globalThis as { WebAssembly?: WebAssemblyApi };
  if (WebAssembly === undefined) return new NoKernel('this Node.js runs without WebAssembly');
  try {
    const module = new WebAssembly.Module(Buffer.from(BINARY, 'base64'));
    return new Kernel(new WebAssembly.Instance(module).exports as KernelExports);
  } catch (cause) {
    // No SIMD, or no address space (`ulimit -v`).
    return new NoKernel(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/**
 * The inner loops over mail as WebAssembly with SIMD. This folder is AssemblyScript, which looks like
 * TypeScript and is compiled by `build/kernel.mjs` into `../binary.ts`, never by tsc.
 *
 * Invariant: a kernel keeps nothing between two calls, so that sessions may take turns; and each has a twin
 * in TypeScript, which says what is right and runs where there is no WebAssembly.
 */
export { checkRows } from './check-rows';
export { crc32 } from './crc';
export { encodeWire } from './encode-wire';
export { gatherIdentity } from './gather-identity';
export {
  BLOCK_COUNT,
  BLOCK_SIZE,
  BLOCKS,
  FIRST_OCTETS,
  HIDDEN_FIELDS,
  MOST_ROWS,
  OFFSET_ROWS,
  PLACE_COUNT,
  PLACE_SIZE,
  PLACES,
  RESULT,
  SLOT_COUNT,
  SLOT_SIZE,
  SLOTS,
  SMALL_ROWS,
  VOLATILE_FIELDS,
  VOLATILE_FIRSTS,
} from './layout';
export { scanBody } from './scan-body';
export { scanHeader } from './scan-header';
export { scanMessages } from './scan-messages';

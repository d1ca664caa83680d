/**
 * The linear memory of the kernels, which never grows, so that a view of it stays good: what the kernels
 * keep for themselves below `SLOTS`, then slots for the octets of whoever leases one (`../memory.ts`).
 * AssemblyScript, not TypeScript: see `index.ts`.
 */

/** Further results of the call that returned last: each an u32. See each function. */
export const RESULT: usize = 1024;

/** For each octet, 1 if a hidden field may begin with it, else 0. */
export const FIRST_OCTETS: usize = 2048;

/** How many hidden fields there are, and octets of the longest name, u32 each; from the 32nd octet on, 32 octets for each (`../field-names.ts`). */
export const HIDDEN_FIELDS: usize = 2304;

/** Sixteen rows of sixteen octets: row n makes room for an octet before the n-th (`encode-lines.ts`). */
export const ROOM_BEFORE: usize = 4096;

/** The same two of the fields that mail readers change, with 64 octets for each from the 64th on. */
export const VOLATILE_FIRSTS: usize = 8192;
export const VOLATILE_FIELDS: usize = 8448;

/** Tables of CRC-32, 16 of 256 u32 each (`crc.ts`). */
export const CRC_TABLES: usize = 16384;

/** Rows of `scanMessages`, `MOST_ROWS` at most, in two tables as `MailboxIndex` has them: of five f64 each... */
export const OFFSET_ROWS: usize = 32768;
/** ...and of three u32 each. */
export const SMALL_ROWS: usize = 51200;
export const MOST_ROWS: i32 = 460;

/** Where the slots begin. Octets before a slot and after the last one may be read, and say nothing. */
export const SLOTS: i32 = 65536;

/** Octets of a slot: what is read from a file at a time. */
export const SLOT_SIZE: i32 = 1048576;

/** How many there are. A page that nobody ever wrote to takes no memory of the machine. */
export const SLOT_COUNT: i32 = 8;

/** Behind the slots: blocks for what is read of a mailbox on its way to clients, and how many octets each has. */
export const BLOCKS: i32 = SLOTS + SLOT_COUNT * SLOT_SIZE;
export const BLOCK_SIZE: i32 = 262144;
export const BLOCK_COUNT: i32 = 16;

/** Behind the blocks: places for replies that are put together, and for shorter reads. */
export const PLACES: i32 = BLOCKS + BLOCK_COUNT * BLOCK_SIZE;
export const PLACE_SIZE: i32 = 65536;
export const PLACE_COUNT: i32 = 32;

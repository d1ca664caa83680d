/**
 * The linear memory of the kernels, which never grows, so that a view of it stays good: what the kernels
 * keep for themselves below `SLOTS`, then slots for the octets of whoever leases one (`../memory.ts`).
 * AssemblyScript, not TypeScript: see `index.ts`.
 */

/** Further results of the call that returned last: each an u32. See each function. */
export const RESULT: usize = 1024;

/** For each octet, 1 if a hidden field may begin with it, else 0. */
export const FIRST_OCTETS: usize = 2048;

/** How many hidden fields there are, an u32; from the 32nd octet on, 32 octets for each (`../hidden-fields.ts`). */
export const HIDDEN_FIELDS: usize = 2304;

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
export const SLOT_SIZE: i32 = 524288;

/** How many there are. A page that nobody ever wrote to takes no memory of the machine. */
export const SLOT_COUNT: i32 = 8;

/**
 * The linear memory of the kernels, which never grows, so that a view of it stays good: what the kernels
 * keep for themselves below `SLOTS`, then slots for the octets of whoever leases one (`../memory.ts`).
 * AssemblyScript, not TypeScript: see `index.ts`.
 */

/** The second result of the call that returned last: an u32. See each function. */
export const RESULT: usize = 1024;

/** Where the slots begin. Octets before a slot and after the last one may be read, and say nothing. */
export const SLOTS: i32 = 65536;

/** Octets of a slot: what is read from a file at a time. */
export const SLOT_SIZE: i32 = 524288;

/** How many there are. A page that nobody ever wrote to takes no memory of the machine. */
export const SLOT_COUNT: i32 = 8;

/**
 * How much of what a client sends is held at most before a session reads it: 16 KiB a connection, since a
 * thousand may say anything without having logged in. Node.js reads up to 64 KiB at a time and goes on until
 * its own buffer is full; only the kernel can be told to hand out less. A session cuts up one read while the
 * stream holds the next.
 */

/** SO_RCVBUF: Linux doubles it for its own accounts, and hands out at most 8 KiB at a time. */
export const RECEIVE_BUFFER = 4096;

/** A stream of ours that holds this much reads no more; so it holds one read. */
export const READ_AHEAD = 1;

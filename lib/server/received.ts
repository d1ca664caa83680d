/**
 * How much of what a client sends is held at most before a session reads it: 16 KiB a connection, since a
 * thousand may say anything without having logged in. Node.js reads up to 64 KiB at a time and goes on until
 * its own buffer is full; so the kernel is told to hand out less, and streams are told when to read: what a session
 * cuts up, with what OpenSSL holds (lib/tls/inbound.ts), and one read more is within the bound.
 */

/** SO_RCVBUF: Linux doubles it for its own accounts, and hands out at most 8 KiB at a time. */
export const RECEIVE_BUFFER = 4096;

/** The most that is held of a connection, in octets; after a login under TLS it may be a record more. */
export const MOST_HELD = 16 * 1024;

/** The most that the kernel hands out at a time, with that. */
export const AT_A_TIME = 2 * RECEIVE_BUFFER;

/** Streams of ours read nothing ahead by themselves: they are told to. */
export const READ_AHEAD = 0;

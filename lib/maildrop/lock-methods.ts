/**
 * The names of the mailbox locks, apart from the locks themselves: the settings need the names when a
 * greeting is waited for, and nothing of what takes a lock.
 */

/** In the order in which they are tried. */
export const LOCK_METHODS = ['dotlock', 'fcntl', 'flock'] as const;
export type LockMethod = (typeof LOCK_METHODS)[number];

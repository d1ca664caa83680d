/** Who has a mailbox's dotlock, as the lock says: what is true while it is ours need not be on a host so slow that it no longer is. */
import { readFileSync } from 'node:fs';

/** What the dotlock of a mailbox file says; undefined where there is none. */
export function dotlockOf(mailbox: string): string | undefined {
  try {
    return readFileSync(`${mailbox}.lock`, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * What whoever rewrites a mailbox file asks of the mailbox locks. A server that is killed while the file is half done
 * must not leave a dotlock that looks dead, or another program would show, and rewrite, what neither was nor will be:
 * so the lock says so for as long as that is true (`lock-line.ts`), and it is said before the first octet is written,
 * and taken back before the journal is done with: whoever finds such a lock finds its journal.
 */
import { type UpdateId, updateIdOf } from './lock-line.js';
import type { Journals } from './move-appended.js';

export interface UpdateLocks {
  /** Looks whether they are ours, and the path still our file. @throws Unavailable when not: then nothing may be written */
  mustBeIntact(): Promise<void>;
  /** From now on the mailbox file may be half done, as the journal with this nonce says, or the one named before. */
  updating(nonce: Uint8Array): void;
  /** The mailbox file is whole, and on the disk. */
  updated(): void;
}

/** For a mailbox that is not there. */
export const NO_LOCKS: UpdateLocks = { mustBeIntact: async () => {}, updating: () => {}, updated: () => {} };

/** Whether one of these UPDATEs is in the journals of a mailbox. */
export async function holdsUpdate({ redo, plan }: Journals, updates: readonly UpdateId[]): Promise<boolean> {
  const [one, other] = [await redo.read(), await plan.read()];
  const nonces = [
    ...(one.is === 'committed' ? [one.header.nonce] : []),
    ...(other.is === 'committed' ? [other.plan.header.nonce] : []),
  ];
  return nonces.some(nonce => updates.includes(updateIdOf(nonce)));
}

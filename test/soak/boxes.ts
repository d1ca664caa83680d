/** The mailboxes of the soak: who serves them, and which locks everybody on them has in common. */
import { Ledger } from './ledger.js';
import type { Model } from './servers.js';

export interface Box {
  readonly user: string;
  readonly model: Model;
  /** The lock that all programs on this mailbox take, whatever others they take besides. */
  readonly lock: 'dotlock' | 'fcntl';
  readonly ledger: Ledger;
}

const ROWS: readonly (readonly [string, Model, Box['lock']])[] = [
  ['ada', 'shared', 'dotlock'],
  ['bela', 'shared', 'fcntl'],
  ['cleo', 'shared', 'dotlock'],
  ['dora', 'per-user', 'dotlock'],
  ['emil', 'per-user', 'fcntl'],
  ['fritz', 'per-user', 'dotlock'],
];

export const USERS = ROWS.map(([user]) => user);

/** Who serves a user; those of other tests are served by the shared daemon. */
export function modelOf(user: string): Model {
  return ROWS.find(([name]) => name === user)?.[1] ?? 'shared';
}

export function makeBoxes(): Box[] {
  return ROWS.map(([user, model, lock]) => ({ user, model, lock, ledger: new Ledger(user) }));
}

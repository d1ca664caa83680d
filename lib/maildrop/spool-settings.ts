/**
 * What a mail spool is told (`MaildropSettings`, all of it from the configuration), and what it is given to work with
 * (`MaildropDeps`). Times are in milliseconds here.
 */
import type { Host } from '../host/host.js';
import type { Log } from '../log.js';
import type { Kernel } from '../mbox/kernel/kernel.js';
import type { Account } from '../pop3/ports.js';
import type { IndexMemory } from './index-memory.js';
import type { SpoolIo } from './io.js';
import type { LockMailbox, LockMethod } from './locks.js';
import type { PlanLayout } from './plan-format.js';
import type { SessionLocks } from './session-lock.js';

export interface MaildropSettings {
  /** Directory of the mailbox files, each named like its user. */
  readonly spool: string;
  /** Holds a directory for each user who needs one. */
  readonly stateDir: string;
  /** Holds the session locks; must exist. */
  readonly runtimeDir: string;
  readonly readOnly: boolean;
  readonly locks: readonly LockMethod[];
  /** How long to try for the mailbox locks, milliseconds. */
  readonly lockTimeout: number;
  /** How long to hold them after login, milliseconds; 0 only while indexing and updating, Infinity always. */
  readonly lockYield: number;
  /** The silence after which a session gives way to another of its user, milliseconds; 0 for never. */
  readonly takeover: number;
  /** Who must own the mailbox file of an account. */
  readonly ownerOf: (account: Account) => number;
  /** The smallest mailbox file whose index is kept for the next session, octets; Infinity for none. */
  readonly indexCache: number;
}

export interface MaildropDeps {
  readonly io: SpoolIo;
  readonly host: Host;
  readonly log: Log;
  /** Undefined for the twins in TypeScript. */
  readonly kernel?: Kernel | undefined;
  /** Told when the disk does not take what it was given: then this process should end. */
  readonly onDiskFailure?: (() => void) | undefined;
  /**
   * Called with the session lock held and before the mailbox is opened: where a process becomes the user.
   * It makes `STATE/USER`, durably. From then on the process can open no other mailbox, so a failure ends
   * the session.
   */
  readonly becomeOwner?: ((account: Account) => Promise<void>) | undefined;
  /** How much of the disk is set aside for each user who deletes; tests take less. */
  readonly planLayouts?: readonly PlanLayout[] | undefined;
  /** See `DotlockOptions`. */
  readonly asSpoolGroup?: (<T>(run: () => T) => T) | undefined;
  /** For the indexes of large mailboxes; tests look into it. */
  readonly indexMemory?: IndexMemory | undefined;
  /** How sessions keep each other out; tests without a real disk have others. */
  readonly sessionLocks?: SessionLocks | undefined;
  /** The same of the mailbox locks. */
  readonly lockMailbox?: LockMailbox | undefined;
}

/**
 * What happens to a mailbox on a disk in memory: a session with UPDATE, recovery, a delivery. The first
 * two are the real code, from `Spool` and `recover` down; only the disk and the locks are not.
 */
import type { Host } from '../../lib/host/host.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { silentLog } from '../../lib/log.js';
import type { RecoveryReport } from '../../lib/maildrop/found-journal.js';
import type { SpoolIo } from '../../lib/maildrop/io.js';
import { Journal } from '../../lib/maildrop/journal.js';
import type { LockMailbox } from '../../lib/maildrop/locks.js';
import { MailboxFile } from '../../lib/maildrop/mailbox-file.js';
import type { Journals } from '../../lib/maildrop/move-appended.js';
import { Spool } from '../../lib/maildrop/open.js';
import { type PlanLayout, planOctets } from '../../lib/maildrop/plan-format.js';
import { PlanJournal } from '../../lib/maildrop/plan-journal.js';
import { recover } from '../../lib/maildrop/recovery.js';
import type { SessionLocks } from '../../lib/maildrop/session-lock.js';
import { NO_LOCKS, type UpdateLocks } from '../../lib/maildrop/update-locks.js';
import type { Maildrop } from '../../lib/pop3/ports.js';
import { BUSY } from '../support/mailbox.js';
import { type DiskOptions, MemoryDisk } from './memory-disk.js';
import { seedNonces } from './nonces.js';
import { durableFile, type MemoryFile, synced, written } from './unsynced.js';
import type { Directory, World } from './world.js';

export const MAILBOX = '/alice';
export const STATE = '/state/alice';
export const JOURNAL = `${STATE}/journal`;
export const PLAN = `${STATE}/journal.plan`;
export const MAILBOX_INO = 10n;
const JOURNAL_INO = 20n;
export const PLAN_INO = 21n;
/** Nobody else wants the mailbox. */
const sessionLocks: SessionLocks = {
  lock: async () => ({ beginUpdate: () => {}, release: () => {} }),
  tryLock: () => () => {},
  removeDeadSockets: async () => 0,
};
/** Small enough for short mailboxes to be moved in several steps. */
export const PLAN_LAYOUT: PlanLayout = { ranges: 512, step: 512 };
export const OWNER = process.geteuid!();

/** Every lock is free: what other programs do is told by the scenario, not by chance. */
const host: Host = {
  ...createPortableHost(),
  warmUp: async () => {},
  lockOpenFile: () => true,
  unlockOpenFile: () => {},
  flock: () => true,
  unflock: () => {},
  crypt: async () => undefined,
  processExists: () => true,
  findUser: () => undefined,
  findGroup: () => undefined,
  becomeUser: () => {},
};

/**
 * A host with one mailbox.
 * @param journal what a former UPDATE left, undefined when there was none
 * @param plan the same of the plan journal, if there was one
 */
export function worldWith(
  mailbox: Uint8Array,
  journal?: Uint8Array | MemoryFile,
  plan: Uint8Array | MemoryFile = Buffer.alloc(planOctets(PLAN_LAYOUT)),
): World {
  const files = new Map([[MAILBOX_INO, durableFile(MAILBOX_INO, mailbox)]]);
  // The spool is resolved on the real disk: only its root is everywhere.
  const directories = new Map<string, Directory>([
    ['/', durable(['alice', MAILBOX_INO], ['state', 0n])],
    ['/state', journal === undefined ? durable() : durable(['alice', 0n])],
  ]);
  if (journal !== undefined) {
    for (const [ino, file] of [[JOURNAL_INO, journal] as const, [PLAN_INO, plan] as const]) {
      files.set(ino, file instanceof Uint8Array ? durableFile(ino, file) : { ...file, ino });
    }
    directories.set(STATE, durable(['journal.plan', PLAN_INO], ['journal', JOURNAL_INO]));
  }
  return { files, directories, nonces: 0 };
}

function durable(...names: [string, bigint][]): Directory {
  const map = new Map(names);
  return { now: map, disk: map, changes: [] };
}

export interface RunOptions extends DiskOptions {
  readonly unlucky?: boolean;
  /** The mailbox locks, of which those who rewrite the mailbox say what they do. */
  readonly locks?: UpdateLocks;
  /** Called between the last DELE and QUIT. */
  readonly beforeUpdate?: () => void;
}

export interface Run<T> {
  readonly world: World;
  readonly disk: MemoryDisk;
  readonly result?: T;
  readonly error?: unknown;
}

/** A session that opens the mailbox, marks messages and says QUIT. It has a result if that was +OK. */
export function update(
  world: World,
  marked: readonly number[],
  options: RunOptions = {},
): Promise<Run<true>> {
  return session(world, options, async maildrop => {
    for (const n of marked) await maildrop.mark(n);
    options.beforeUpdate?.();
    await maildrop.update();
    return true as const;
  });
}

/** A session that says UIDL. */
export function uniqueIds(world: World): Promise<Run<readonly string[]>> {
  return session(world, {}, maildrop => maildrop.uniqueIds());
}

function session<T>(
  world: World,
  options: RunOptions,
  client: (maildrop: Maildrop) => Promise<T>,
): Promise<Run<T>> {
  return run(world, options, async io => {
    const spool = new Spool(
      {
        io,
        host,
        log: silentLog,
        sessionLocks,
        lockMailbox: lockedBy(options.locks),
        planLayouts: [PLAN_LAYOUT],
      },
      {
        spool: '/',
        stateDir: '/state',
        runtimeDir: '/run',
        readOnly: false,
        locks: ['fcntl'],
        takeover: 0,
        lockTimeout: 0,
        lockYield: Number.POSITIVE_INFINITY,
        indexCache: Number.POSITIVE_INFINITY,
        ownerOf: () => OWNER,
      },
    );
    const maildrop = await spool.open({ user: 'alice' }, { address: '192.0.2.7', port: 40000 }, BUSY);
    try {
      return await client(maildrop);
    } finally {
      await maildrop.release();
    }
  });
}

function lockedBy(locks: UpdateLocks = NO_LOCKS): LockMailbox {
  const { updating, updated } = locks;
  return async () => ({ intact: () => true, release: async () => {}, updating, updated });
}

/** The journals of the mailbox. */
export function journalsOn(io: SpoolIo): Journals {
  const place = { io, dir: STATE, owner: OWNER, dirIsGiven: false };
  return { redo: new Journal(place), plan: new PlanJournal(place, [PLAN_LAYOUT]) };
}

/** Recovery as the next login does it. */
export function recovery(world: World, options: RunOptions = {}): Promise<Run<RecoveryReport>> {
  return run(world, options, async io => {
    const journals = journalsOn(io);
    const mailbox = await MailboxFile.open(io, MAILBOX, { owner: OWNER, writable: true });
    try {
      return await recover(mailbox, journals, options.locks ?? NO_LOCKS);
    } finally {
      await journals.redo
        .close()
        .finally(() => journals.plan.close())
        .finally(() => mailbox?.close());
    }
  });
}

async function run<T>(
  world: World,
  { unlucky = false, ...options }: RunOptions,
  program: (disk: MemoryDisk) => Promise<T>,
): Promise<Run<T>> {
  seedNonces(world.nonces, unlucky);
  const disk = new MemoryDisk(world, options);
  try {
    const result = await program(disk);
    return { world: disk.world, disk, result };
  } catch (error) {
    return { world: disk.world, disk, error };
  }
}

/** The mailbox file as a program reads it; undefined when there is none. */
export function mailboxOf(world: World): Buffer | undefined {
  return fileAt(world, MAILBOX)?.now;
}

export function fileAt(world: World, path: string): MemoryFile | undefined {
  const slash = path.lastIndexOf('/');
  const directory = world.directories.get(path.slice(0, Math.max(1, slash)));
  const ino = directory?.now.get(path.slice(slash + 1));
  return ino === undefined ? undefined : world.files.get(ino);
}

/** A delivery: appended, and fsynced before it is reported. */
export function delivered(world: World, mail: Uint8Array): World {
  const file = fileAt(world, MAILBOX);
  if (mail.length === 0 || file === undefined) return world;
  return withFile(world, synced(written(file, mail, file.now.length, 1n)));
}

export function withFile(world: World, file: MemoryFile): World {
  return { ...world, files: new Map(world.files).set(file.ino, file) };
}

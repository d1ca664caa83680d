/**
 * When a dotlock of somebody else is stale. At once, if it names a process of this host that does not
 * exist (ESRCH; never EPERM: that one lives and is another user's). Otherwise only when neither the lock
 * nor the mailbox has changed for five minutes. A lock that is no regular file is never stale to us:
 * no mail program makes one, and we do not remove what we do not understand. A lock of ours that names an
 * UPDATE is stale by age as well, but to who has its journal (`dotlock.ts`).
 */
import * as fs from 'node:fs';
import { errnoOf } from '../errors.js';
import type { Host } from '../host/host.js';
import { readLine, type UpdateId } from './lock-line.js';

export interface LockSighting {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly mtimeNs: bigint;
  readonly kind: 'file' | 'other';
  readonly uid: number;
  /** The first line, when it could be read. */
  readonly content: string;
  /** The pid it names, and whether that is a process of this host. */
  readonly pid: number | undefined;
  /** The UPDATEs of ours it names. */
  readonly updates: readonly UpdateId[];
  readonly stale: 'at once' | 'by age';
  /** The younger of the last changes of lock and mailbox. */
  readonly lastChange: Date;
}

/** Whether two looks saw the same lock in the same state. */
export function sameSighting(a: LockSighting, b: LockSighting): boolean {
  return a.dev === b.dev && a.ino === b.ino && a.mtimeNs === b.mtimeNs && a.content === b.content;
}

/** Looks at a lock file without following links, waiting on FIFOs or reading more than a line. */
export async function inspectDotlock(path: string, mailboxPath: string, host: Host): Promise<LockSighting> {
  const stat = await fs.promises.lstat(path, { bigint: true });
  const mailbox = await fs.promises.lstat(mailboxPath, { bigint: true });
  const seen = {
    dev: stat.dev,
    ino: stat.ino,
    mtimeNs: stat.mtimeNs,
    uid: Number(stat.uid),
    lastChange: new Date(Math.max(...[stat, mailbox].flatMap(s => [Number(s.mtimeMs), Number(s.ctimeMs)]))),
  };
  if (!stat.isFile()) {
    // Dated now, so that no age makes it stale.
    return {
      ...seen,
      kind: 'other',
      content: '',
      pid: undefined,
      updates: [],
      stale: 'by age',
      lastChange: new Date(),
    };
  }
  const content = await firstLine(path);
  const { pid, here, updates } = readLine(content);
  const dead = pid !== undefined && !host.processExists(pid);
  // A bare pid may be of another host on a network file system, or of another PID namespace.
  const ours = here || (!inPidNamespace() && (await isLocal(mailboxPath)));
  return { ...seen, kind: 'file', content, pid, updates, stale: dead && ours ? 'at once' : 'by age' };
}

async function firstLine(path: string): Promise<string> {
  try {
    const flags = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;
    const handle = await fs.promises.open(path, flags);
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(256), 0, 256, 0);
      return buffer.toString('latin1', 0, bytesRead).split('\n', 1)[0] ?? '';
    } finally {
      await handle.close();
    }
  } catch (error) {
    // Locks of mode 0 are common (Postfix): nothing to read, so judged by age.
    if (errnoOf(error) === 'EACCES') return '';
    throw error;
  }
}

/** The inode of the initial PID namespace (linux/proc_ns.h, PROC_PID_INIT_INO). */
const INITIAL_PID_NAMESPACE = 'pid:[4026531836]';

function inPidNamespace(): boolean {
  try {
    return fs.readlinkSync('/proc/self/ns/pid') !== INITIAL_PID_NAMESPACE;
  } catch (error) {
    // No /proc or no such link: not Linux, where there are no such namespaces, unless it is hidden.
    return process.platform === 'linux' && errnoOf(error) !== undefined;
  }
}

/** statfs(2) types of file systems whose files other hosts may have locked. */
const NETWORK_FILE_SYSTEMS = new Set([
  0x6969, // NFS
  0xff534d42, // CIFS
  0xfe534d42, // SMB2
  0x517b, // SMB
  0x65735546, // FUSE: may be anything
  0x01021997, // 9P
  0x00c36400, // Ceph
  0x5346414f, // AFS
  0x01161970, // GFS2
  0x7461636f, // OCFS2
  0x47504653, // GPFS
  0x0bd00bd0, // Lustre
]);

async function isLocal(path: string): Promise<boolean> {
  const { type } = await fs.promises.statfs(path);
  return !NETWORK_FILE_SYSTEMS.has(type >>> 0);
}

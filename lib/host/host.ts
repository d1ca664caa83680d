/**
 * The native room's interface: what the server needs from the operating system that Node.js does not
 * give. `linux.ts` is the real one (koffi); `portable.ts` is what can be done without it.
 */

/** A user as passwd(5) has it. */
export interface SystemUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** How far the other end of a TCP connection has come. */
export interface Acknowledged {
  /** Octets it has acknowledged since the connection began. */
  readonly octets: number;
  /** Milliseconds since it last acknowledged anything, were it nothing new. */
  readonly ago: number;
}

/** What fstat(2) and lstat(2) tell that we decide by. */
export interface FileStat {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly kind: 'file' | 'directory' | 'symlink' | 'other';
  /** Octets. */
  readonly size: number;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** What `Host.socketKind` tells of a descriptor. */
export type SocketKind = 'listening' | 'connected' | 'unix' | 'none';

export interface Host {
  /**
   * Loads what is otherwise loaded when first needed, because files may be out of reach after
   * `becomeUser` and `becomeMailUser`; and starts libuv's pool, because a thread born inside `withGroup`
   * would keep the group.
   */
  warmUp(): Promise<void>;
  /** `native`, or `portable` when the FFI could not be loaded and locks and hashes are reduced. */
  readonly kind: 'native' | 'portable';
  /**
   * fcntl(2) F_OFD_SETLK over the whole file, without waiting: the lock belongs to the open file, so
   * it is not lost when another descriptor is closed, and it excludes our own other sessions.
   * `write` needs a descriptor open for writing.
   * @returns false when somebody else holds a conflicting lock
   */
  lockOpenFile(fd: number, kind: 'read' | 'write'): boolean;
  /** Ends the lock of `lockOpenFile` (closing the descriptor does so too). */
  unlockOpenFile(fd: number): void;
  /**
   * The write lock of `lockOpenFile` on one octet, whether or not the file is as long. Of one open file it
   * does not exclude itself: who asks twice has it twice.
   * @param at offset, less than 2^63 - 1
   */
  lockOctet(fd: number, at: bigint): boolean;
  /** Ends the lock of `lockOctet` (closing the descriptor ends all of them). */
  unlockOctet(fd: number, at: bigint): void;
  /** flock(2) LOCK_EX|LOCK_NB, or LOCK_SH. @returns false when somebody else holds it */
  flock(fd: number, kind: 'read' | 'write'): boolean;
  unflock(fd: number): void;
  /**
   * open(2) of a file that is there, if all directories on the way and the file itself are in memory already: without
   * waiting. Programs we start do not get the descriptor.
   * @param flags as of open(2), without O_CREAT
   * @returns undefined when it must be opened in the ordinary way: it may have to wait, or is an error
   * @throws ENOENT when there is none
   */
  openCached(path: string, flags: number): number | undefined;
  /**
   * read(2) at `position` of what is in memory already, without waiting.
   * @returns octets read, which may be fewer than asked for, but are not 0; undefined when it must be read in the
   *   ordinary way: it may have to wait, or is an error, or the end of the file
   */
  readCached(fd: number, into: Uint8Array, position: number): number | undefined;
  /** fstat(2). @returns undefined when it must be asked in the ordinary way: it is an error, or there is nothing better */
  statOpen(fd: number): FileStat | undefined;
  /** lstat(2), as `statOpen`; it may have to wait for a disk. */
  statNamed(path: string): FileStat | undefined;
  /**
   * crypt(3), in a worker thread, at most two at a time.
   * @param password octets, without NUL, at most 511
   * @param setting the stored hash
   * @returns the hash of `password` under `setting`, or undefined when crypt(3) does not know `setting`
   * or failed on it. Throws `Unavailable` when there is no libcrypt.
   */
  crypt(password: Uint8Array, setting: string): Promise<string | undefined>;
  /** Whether `pid` exists on this host (kill(pid, 0)): false only for ESRCH, true for EPERM. */
  processExists(pid: number): boolean;
  /** The named user of passwd(5), or undefined. */
  findUser(name: string): SystemUser | undefined;
  /** The numeric id of a group of group(5), or undefined. */
  findGroup(name: string): number | undefined;
  /**
   * Gives up root for good: initgroups, setgid, setuid; then reads every id back and proves that root
   * cannot be regained. Throws when any of it is not so.
   */
  becomeUser(user: SystemUser, gid: number): void;
  /**
   * Gives up root for good and keeps nothing but one user (mode B): no supplementary groups; all user ids
   * the user's; group ids the user's, but the saved one `mailGid`, so that `withGroup` may raise it. Then
   * proves that root cannot be regained, makes the process undumpable (nobody may trace it or read its
   * memory), and reads the ids and capabilities of every thread back. Needs effective uid 0.
   * Throws when any of it is not so: the process is then half changed, and must end.
   * @param mailGid group of the spool; undefined: the user's own. Never 0, nor are uid and gid
   */
  becomeMailUser(user: SystemUser, mailGid: number | undefined): void;
  /**
   * For the time being: effective ids only, supplementary groups given up; real and saved uid stay root's.
   * Mistakes in parsing then act as this user, but code run by an attacker could go back to root.
   */
  setEffectiveUser(uid: number, gid: number): void;
  /** Ends `setEffectiveUser`: effective uid 0 and the real gid. Supplementary groups stay given up. */
  regainRoot(): void;
  /**
   * prctl(2): nobody may trace this process or read its memory, not even another one of its user.
   * Nothing happens where there is no such thing.
   */
  becomeUndumpable(): void;
  /**
   * Runs a synchronous function with the file access of group `gid`: setfsgid(2), this thread only. It is
   * always set back, and verified both ways. Asynchronous work begun inside does not have the group; but
   * a thread of libuv's pool that is born inside keeps it: `warmUp` first.
   * @throws Error when the group is none of the real, effective and saved ones (and we are not root)
   */
  withGroup<T>(gid: number, run: () => T): T;
  /**
   * What an inherited descriptor is: `listening` is a stream socket to accept(2) on, of any family;
   * `connected` an AF_INET or AF_INET6 stream socket that is not listening (the peer may be gone again);
   * `unix` the same of AF_UNIX; `none` anything else, or not open.
   */
  socketKind(fd: number): SocketKind;
  /**
   * What the other end has acknowledged (tcp(7), TCP_INFO): of what the kernel took from us, that may be
   * megabytes less. Undefined for anything but a TCP socket, and where the kernel does not tell.
   */
  acknowledged(fd: number): Acknowledged | undefined;
  /**
   * Bounds what the kernel keeps of what a client sends until it is read (SO_RCVBUF). Of a listening socket,
   * the connections inherit it. Nothing happens where there is no such option.
   */
  limitReceived(fd: number, octets: number): void;
  /** Another descriptor of the same open file, which programs we start do not get. */
  duplicateDescriptor(fd: number): number;
  /**
   * openlog(3) with facility mail and our pid, and connects at once, so that `syslog` works without the
   * right to open files. Without a syslog daemon nothing is written anywhere, and nothing fails.
   */
  openSyslog(ident: string): void;
  /**
   * syslog(3), facility mail. Waits while the daemon's queue is full, as every program does.
   * @param priority 0 (emergency) to 7 (debug)
   * @param line one line; never used as a format. Ends at a NUL
   */
  syslog(priority: number, line: string): void;
  /**
   * sd_notify(3): one datagram of `KEY=value` lines to NOTIFY_SOCKET. The variable is remembered and
   * taken out of the environment at the first call. Unset or unreachable: nothing happens.
   */
  notify(state: string): void;
}

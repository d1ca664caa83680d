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

export interface Host {
  /** Loads what is otherwise loaded when first needed: files may be out of reach after `becomeUser`. */
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
  /** flock(2) LOCK_EX|LOCK_NB, or LOCK_SH. @returns false when somebody else holds it */
  flock(fd: number, kind: 'read' | 'write'): boolean;
  unflock(fd: number): void;
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
}

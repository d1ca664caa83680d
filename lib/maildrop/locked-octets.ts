/**
 * The session locks of a process that serves many, in few descriptors: each is one octet of one of a few files in
 * RUNTIME, at an offset that is a hash of the mailbox path. An open file description lock lies on an octet that
 * the file need not have. The files are open while one of their octets is ours, which of a busy server is for ever:
 * so each time it is seen that they are the ones that others would open.
 *
 * Invariants: the kernel keeps out other processes, and the table here the other sessions of our own, which it would
 * let in, since they lock through the same open file. Two mailboxes never share an octet but by a collision of
 * 60 bits, and then only wait for each other. Never more than `FILES` descriptors, however many sessions.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync } from 'node:fs';
import { errnoOf } from '../errors.js';
import type { Host } from '../host/host.js';

/** The kernel goes through all locks of a file at each call; a power of two. */
const FILES = 16;

/** Where the lock of a mailbox is. */
export interface OctetPlace {
  readonly path: string;
  readonly octet: bigint;
}

/** @param name of the session lock, hexadecimal */
export function octetPlace(dir: string, name: string): OctetPlace {
  const file = Number.parseInt(name.slice(0, 2), 16) % FILES;
  return {
    path: `${dir}/locks.${file.toString(16).padStart(2, '0')}`,
    octet: BigInt(`0x${name.slice(2, 17)}`),
  };
}

interface LockFile {
  fd: number;
  readonly ours: Set<bigint>;
}

export class LockedOctets {
  readonly #files = new Map<string, LockFile>();

  constructor(
    private readonly host: Pick<Host, 'lockOctet' | 'unlockOctet'>,
    private readonly dir: string,
  ) {}

  /**
   * Takes the lock, without waiting.
   * @returns what gives it back, once; undefined when somebody else has it
   * @throws the error of open(2) or fcntl(2)
   */
  tryLock(name: string): (() => void) | undefined {
    const { path, octet } = octetPlace(this.dir, name);
    const file = this.#files.get(path) ?? { fd: open(path), ours: new Set() };
    this.#files.set(path, file);
    if (file.ours.has(octet)) return undefined;
    if (file.ours.size > 0 && !isNamed(path, file.fd)) this.#moveTo(open(path), file);
    try {
      if (!this.host.lockOctet(file.fd, octet)) return undefined;
      file.ours.add(octet);
    } finally {
      this.#closeUnused(path, file);
    }
    return () => {
      file.ours.delete(octet);
      // Closing ends the lock as well.
      if (!this.#closeUnused(path, file)) this.host.unlockOctet(file.fd, octet);
    };
  }

  /**
   * The file was removed (by a human, by tmpfiles.d(5)): who comes later meets our sessions in the one that is there
   * now. Where somebody has come already, there are two, and it is for the mailbox locks to keep them apart.
   */
  #moveTo(fd: number, file: LockFile): void {
    closeSync(file.fd);
    file.fd = fd;
    for (const octet of file.ours) this.host.lockOctet(fd, octet);
  }

  #closeUnused(path: string, { fd, ours }: LockFile): boolean {
    if (ours.size > 0) return false;
    this.#files.delete(path);
    closeSync(fd);
    return true;
  }
}

function open(path: string): number {
  return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
}

function isNamed(path: string, fd: number): boolean {
  try {
    const [named, opened] = [lstatSync(path), fstatSync(fd)];
    return named.ino === opened.ino && named.dev === opened.dev;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

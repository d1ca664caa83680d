/**
 * read(2) of what the system has in memory, and nothing else: preadv2(2) with RWF_NOWAIT. It takes a microsecond, where
 * handing a read to libuv's pool takes twenty, and never waits for a disk. Not every file system has it, nor an
 * old kernel, nor an old C library: then nothing is said to be in memory.
 */
import koffi from 'koffi';
import { libc } from './libc.js';

const RWF_NOWAIT = 8;

type PReadV2 = (fd: number, vectors: Buffer, count: number, offset: number, flags: number) => number;

/** Undefined before glibc 2.26 and musl 1.2.5. */
const preadv2 = find();

/** `struct iovec`: address and length. Used again and again: nothing is kept of it by the system. */
const vector = Buffer.alloc(16);

/** The contract is `Host.readCached`. */
export function readCached(fd: number, into: Uint8Array, position: number): number | undefined {
  if (preadv2 === undefined || into.length === 0) return undefined;
  vector.writeBigUInt64LE(BigInt(koffi.address(into)), 0);
  vector.writeBigUInt64LE(BigInt(into.length), 8);
  const count = preadv2(fd, vector, 1, position, RWF_NOWAIT);
  // EAGAIN, EOPNOTSUPP, or an error that an ordinary read will tell; so will the end of the file: Linux 5.9 and 5.10
  // may say 0 in the middle of it, of what is not in memory (preadv2(2), BUGS).
  return count > 0 ? count : undefined;
}

function find(): PReadV2 | undefined {
  try {
    return libc.func('preadv2', 'long', ['int', 'void *', 'int', 'int64_t', 'int']) as PReadV2;
  } catch {
    return undefined; // Not there: every read goes to the pool then.
  }
}

/**
 * Reads certificates and private keys. That is all it does: in a process that gives up root it is done
 * before the first octet of a client is parsed, long before TLS itself is loaded, if it ever is.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { EX, errnoOf, UsageError } from '../errors.js';

/** Where a certificate, with the chain to its root, and its private key are. */
export interface CertificateFiles {
  readonly cert: string;
  /** May be the same file. */
  readonly key: string;
}

export interface PemPair {
  readonly files: CertificateFiles;
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Everybody on this host can read the key. */
  readonly exposed: boolean;
}

/** Octets; a certificate with its chain has a few thousand. */
const MAX_SIZE = 1024 * 1024;

/** @throws UsageError EX_NOINPUT, EX_NOPERM or EX_CONFIG, naming the file */
export function readPemPair(files: CertificateFiles): PemPair {
  const cert = readPem('certificate', files.cert);
  const key = readPem('private key', files.key);
  return { files, cert: cert.content, key: key.content, exposed: (key.mode & 0o004) !== 0 };
}

function readPem(what: string, path: string): { content: Buffer; mode: number } {
  try {
    // O_NONBLOCK: a FIFO would wait for its writer.
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile() || stat.size > MAX_SIZE) throw new Error('not a PEM file');
      return { content: readFileSync(fd), mode: stat.mode };
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    throw unreadable(`${what} ${path}`, cause);
  }
}

function unreadable(what: string, cause: unknown): UsageError {
  switch (errnoOf(cause)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new UsageError(`${what}: no such file`, EX.NOINPUT, { cause });
    case 'EACCES':
    case 'EPERM':
      return new UsageError(`${what}: permission denied`, EX.NOPERM, { cause });
    default: {
      const reason = cause instanceof Error ? cause.message : String(cause);
      return new UsageError(`${what}: ${reason}`, EX.CONFIG, { cause });
    }
  }
}

/** What looking at a mailbox (`examine.ts`) is about, what it finds, and what all of it reads by. */
import { readdir } from 'node:fs/promises';
import { errnoOf } from '../errors.js';
import type { Host } from '../host/host.js';
import type { SpoolIo } from './io.js';

/** `remedy` makes it a trouble; without, it is for information. */
export interface Finding {
  readonly what: string;
  readonly remedy?: string;
}

export interface Examined {
  readonly io: SpoolIo;
  readonly host: Host;
  readonly spool: string;
  readonly runtimeDir: string;
  /** `STATE/USER`. */
  readonly stateDir: string;
  readonly user: string;
  /** Who must own the mailbox file. */
  readonly owner: number;
}

/** The names in a directory; none where it cannot be read. */
export async function list(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).sort();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

/** For `catch`: what is not there, or not ours to see, is undefined. */
export function ifMissing(error: unknown): undefined {
  if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoOf(error) ?? '')) return undefined;
  throw error;
}

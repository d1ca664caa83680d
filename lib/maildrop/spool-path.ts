/**
 * Where the spool is, all links followed: whose mailbox it is must not depend on the way to it. A spool that is not
 * there is not an empty spool: its file system may not be mounted, and nobody may be told that there is no mail.
 */
import { realpath } from 'node:fs/promises';
import { Unavailable } from '../errors.js';
import type { MaybeLater } from './io.js';

/** How long the spool is known by the same path, milliseconds. */
const RESOLVED_FOR = 1000;

export class SpoolPath {
  #resolved: { readonly path: string; readonly until: number } | undefined;

  /** @param given by the configuration */
  constructor(private readonly given: string) {}

  /**
   * As it was found not long ago. Whoever finds no mailbox then asks `now` whether there is a spool.
   * @throws Unavailable SYS/TEMP
   */
  lately(): MaybeLater<string> {
    const now = performance.now();
    if (this.#resolved !== undefined && this.#resolved.until > now) return this.#resolved.path;
    return this.#resolve(now);
  }

  async #resolve(now: number): Promise<string> {
    const path = await this.now();
    this.#resolved = { path, until: now + RESOLVED_FOR };
    return path;
  }

  /** @throws Unavailable SYS/TEMP */
  async now(): Promise<string> {
    try {
      return await realpath(this.given);
    } catch (cause) {
      throw new Unavailable('SYS/TEMP', 'mail spool is not available', { cause });
    }
  }
}

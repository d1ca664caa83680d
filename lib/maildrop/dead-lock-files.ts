/**
 * Lock files (`lock-file.ts`) that a process of ours left in the spool when it was killed, under names that nobody
 * looks for: spares, and what was about to become a lock. Here they are removed; `check` tells of any other.
 *
 * Invariant: only what is provably ours and of no use to anybody: a regular file of ours without another name, which
 * says that it is of the process in its name, of this host, and that process does not exist (ESRCH). What mail
 * programs take for a lock has another name, and is never touched here.
 */
import * as fs from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { errnoOf } from '../errors.js';
import type { Host } from '../host/host.js';
import { makerOf } from './lock-file.js';

const READ = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;

/**
 * Removes those in a spool, as far as we may; one that we may not list has none.
 * @param asSpoolGroup see `DotlockOptions`
 * @returns their names
 * @throws other errors of reading it
 */
export async function removeDeadLockFiles(
  spool: string,
  host: Pick<Host, 'processExists'>,
  asSpoolGroup: <T>(run: () => T) => T = run => run(),
): Promise<string[]> {
  const left = await leftIn(spool, host);
  return asSpoolGroup(() => left.filter(({ name, maker }) => removeIfOurs(join(spool, name), maker))).map(
    ({ name }) => name,
  );
}

interface Left {
  readonly name: string;
  /** The process of its name, which does not exist. */
  readonly maker: number;
}

async function leftIn(spool: string, host: Pick<Host, 'processExists'>): Promise<Left[]> {
  const found: Left[] = [];
  try {
    for await (const { name } of await fs.promises.opendir(spool)) {
      const [, user] = /^\.(.+)\.lock\./.exec(name) ?? [];
      const maker = user && makerOf(name, join(spool, user));
      if (maker && !host.processExists(maker)) found.push({ name, maker });
    }
  } catch (error) {
    if (!['EACCES', 'ENOENT'].includes(errnoOf(error) ?? '')) throw error;
  }
  return found;
}

/** @returns whether it is gone by that */
function removeIfOurs(path: string, maker: number): boolean {
  try {
    const stat = fs.lstatSync(path);
    if (!stat.isFile() || stat.uid !== process.geteuid?.() || stat.nlink !== 1) return false;
    if (!says(path, `${maker}:${hostname()}\n`)) return false;
    fs.unlinkSync(path);
    return true;
  } catch (error) {
    // `check` tells of those that stay; one that is gone was somebody else's to remove.
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

/** Whether a file says this and nothing else. */
function says(path: string, line: string): boolean {
  const fd = fs.openSync(path, READ);
  try {
    const content = Buffer.alloc(line.length + 1);
    return content.toString('latin1', 0, fs.readSync(fd, content, 0, content.length, 0)) === line;
  } finally {
    fs.closeSync(fd);
  }
}

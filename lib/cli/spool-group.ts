/**
 * The spool's group, for making and removing files in a spool whose directory only that group may write
 * (2775 root:mail): borrowed by a process that became a mail user and kept the group in its saved id.
 */
import { statSync } from 'node:fs';
import type { Host } from '../host/host.js';

/** Runs it with group `gid` if that is what the spool wants: not in one where everybody may create files. */
export function asSpoolGroup<T>(host: Host, spool: string, gid: number, run: () => T): T {
  const { gid: group, mode } = statSync(spool);
  const needed = group === gid && (mode & 0o022) === 0o020;
  return needed ? host.withGroup(gid, run) : run();
}

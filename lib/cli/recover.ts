/**
 * `mbox-pop3d recover [USER...]`: finishes UPDATEs that were interrupted, and says what it did. A server
 * does the same when it starts and at each login; this is for a host where none runs, or for before the
 * delivery agents start. The journal of a mailbox is looked for under the same flags as `serve` has.
 */
import { isUserName } from '../auth/user-name.js';
import type { RawOptions } from '../config.js';
import { EX, UsageError } from '../errors.js';
import { createSpool } from '../services.js';
import { prepareService, type Recovered, recoverUsers } from './service.js';

/** @throws UsageError EX_TEMPFAIL when a mailbox could not be recovered now */
export async function recoverCommand(raw: RawOptions, names: readonly string[]): Promise<void> {
  const wrong = names.find(name => !isUserName(name));
  if (wrong !== undefined) throw new UsageError(`${wrong}: not a user name`, EX.USAGE);
  const service = await prepareService({ ...raw, 'read-only': false }, false);
  await service.dropRoot();
  const { settings, host, log, ownerOf, users } = service;
  const spool = createSpool(settings, { host, log, ownerOf });
  const wanted = names.length > 0 ? names : await spool.unfinished();
  let failures = 0;
  for await (const result of recoverUsers(spool, users, wanted)) {
    if ('failed' in result) failures++;
    process.stdout.write(`${result.user}: ${describe(result)}\n`);
  }
  if (wanted.length === 0) process.stdout.write('no interrupted update\n');
  if (failures > 0) throw new UsageError(`${failures} of ${wanted.length} not recovered`, EX.TEMPFAIL);
}

function describe(result: Recovered): string {
  if ('failed' in result) return `not recovered: ${result.failed.message}`;
  const { report } = result;
  switch (report.did) {
    case 'nothing':
      return 'no interrupted update';
    case 'finished':
      return 'interrupted update finished';
    case 'ignored':
      return `journal ${report.path} ignored: ${report.reason}`;
    case 'set-aside':
      return `journal kept as ${report.path}: ${report.reason}; ${report.salvaged} messages added to the mailbox`;
  }
}

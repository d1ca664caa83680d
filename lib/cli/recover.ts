/**
 * `mbox-pop3d recover [USER...]`: finishes UPDATEs that were interrupted, removes the lock files of dead processes,
 * and says what it did. A server does the same when it starts, and the first at each login; this is for a host where
 * none runs, or for before the delivery agents start. Where each user owns their state, root starts a process for
 * each, which becomes the user.
 */
import { isUserName } from '../auth/user-name.js';
import { OPTIONS, type RawOptions, type Settings, settingsFrom } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { runSelf } from '../host/run-self.js';
import type { Log } from '../log.js';
import type { Spool } from '../maildrop/open.js';
import { createSpool, effectiveUid } from '../services.js';
import { type Backends, openBackends } from './authenticator.js';
import { PerUser } from './per-user.js';
import { nativeHost } from './serve.js';
import { prepareService, type Recovered, recoverUsers } from './service.js';
import { modelOf, ownDirectories } from './state-dir.js';
import { stderrLog } from './stderr-log.js';

/** @throws UsageError EX_TEMPFAIL when a mailbox could not be recovered now */
export async function recoverCommand(raw: RawOptions, names: readonly string[]): Promise<void> {
  const wrong = names.find(name => !isUserName(name));
  if (wrong !== undefined) throw new UsageError(`${wrong}: not a user name`, EX.USAGE);
  const settings = settingsFrom({ ...raw, 'read-only': false });
  const log = stderrLog(settings.logLevel);
  const host = await nativeHost();
  if (effectiveUid() === 0 && modelOf(settings.stateDir) === 'per-user') {
    return recoverPerUser(host, log, settings, raw, names);
  }
  const { spool, backends, dropRoot } = await prepareService(host, log, settings, { stays: false });
  await dropRoot();
  await recoverAndTell(spool, backends, names.length > 0 ? names : await spool.unfinished());
}

async function recoverPerUser(
  host: Host,
  log: Log,
  settings: Settings,
  raw: RawOptions,
  names: readonly string[],
): Promise<void> {
  ownDirectories(settings);
  const spool = await createSpool(settings, { host, log, ...new PerUser(host, settings).parts });
  const wanted = names.length > 0 ? names : await spool.unfinished();
  if (wanted.length <= 1) {
    return recoverAndTell(spool, await openBackends(host, log, settings, false), wanted);
  }
  let failures = 0;
  for (const name of wanted) {
    if ((await runSelf(['recover', ...flagsOf(raw), name])) !== 0) failures++;
  }
  if (failures > 0) throw new UsageError(`${failures} of ${wanted.length} not recovered`, EX.TEMPFAIL);
}

/** The flags again, as arguments. */
function flagsOf(raw: RawOptions): string[] {
  return Object.keys(OPTIONS).flatMap(name => (raw[name] === undefined ? [] : [`--${name}=${raw[name]}`]));
}

async function recoverAndTell(spool: Spool, backends: Backends, names: readonly string[]): Promise<void> {
  let failures = 0;
  for await (const result of recoverUsers(spool, backends, names)) {
    if ('failed' in result || result.report.did === 'kept') failures++;
    process.stdout.write(`${result.user}: ${describe(result)}\n`);
  }
  if (names.length === 0) process.stdout.write('no interrupted update\n');
  const { lockFiles, sockets } = await spool.clearUp();
  if (lockFiles > 0) process.stdout.write(`lock files of dead processes removed: ${lockFiles}\n`);
  if (sockets > 0) process.stdout.write(`sockets of dead processes removed: ${sockets}\n`);
  if (failures > 0) throw new UsageError(`${failures} of ${names.length} not recovered`, EX.TEMPFAIL);
}

function describe(result: Recovered): string {
  if ('failed' in result) return `not recovered: ${result.failed.message}`;
  const { report } = result;
  switch (report.did) {
    case 'nothing':
      return 'no interrupted update';
    case 'in-use':
      return 'a POP3 session has it, and has finished or will finish what was interrupted';
    case 'finished':
      return 'interrupted update finished';
    case 'kept':
      return `not finished, journal ${report.path} kept: ${report.reason}`;
    case 'ignored':
      return `journal ${report.path} ignored: ${report.reason}`;
    case 'set-aside':
      return `journal kept as ${report.path}: ${report.reason}; ${report.salvaged} messages added to the mailbox`;
  }
}

/**
 * The backends that are not in this process, as the settings have them. What they need is looked at when
 * they are opened, so that a start fails with a remedy, instead of each login.
 */
import { accessSync, constants, existsSync } from 'node:fs';
import { checkpasswordProgram } from '../auth/checkpassword.js';
import { type Ask, Outside } from '../auth/outside.js';
import { pam } from '../auth/pam.js';
import { saslauthd } from '../auth/saslauthd.js';
import type { AuthBackend, Settings } from '../config.js';
import { EX, errnoOf, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { Turns } from '../host/turns.js';
import type { Log } from '../log.js';
import { effectiveUid } from '../services.js';

export type OutsideName = Exclude<AuthBackend, 'users' | 'system'>;

interface Opened {
  readonly ask: Ask;
  close(): Promise<void>;
}

/**
 * @param stays whether this process serves many, and gives up root, if it has it, before the first
 * @throws UsageError for whatever the sysadmin must put right first
 */
export async function openOutside(
  name: OutsideName,
  host: Host,
  log: Log,
  settings: Settings,
  stays: boolean,
): Promise<{ backend: Outside; close(): Promise<void> }> {
  const { ask, close } = await open(name, log, settings, stays);
  const { atOnce, timeout } = settings.outside;
  const turns = new Turns(atOnce, timeout);
  return { backend: new Outside(ask, { host, minimumUid: settings.minUid, turns }), close };
}

async function open(name: OutsideName, log: Log, settings: Settings, stays: boolean): Promise<Opened> {
  const { outside } = settings;
  const close = async () => {};
  switch (name) {
    case 'saslauthd':
      // It may be started after us.
      return { ask: saslauthd(outside.saslauthdSocket), close };
    case 'checkpassword':
      mustBeExecutable(outside.checkpassword[0] ?? '');
      return { ask: checkpasswordProgram(outside.checkpassword, effectiveUid), close };
    case 'pam':
      return openPam(log, settings, stays);
  }
}

/** In processes of their own; a server that will give up root leaves one behind that starts them. */
async function openPam(log: Log, settings: Settings, stays: boolean): Promise<Opened> {
  const { pamService: service, atOnce, timeout } = settings.outside;
  mustBeRoot();
  mustBeConfigured(service);
  const options = { service, minimumUid: settings.minUid };
  if (!stays) {
    const { PamWorkers } = await import('../host/pam-workers.js');
    const workers = new PamWorkers({ ...options, keep: 0 });
    return { ask: pam((question, signal) => workers.ask(question, signal)), close: () => workers.close() };
  }
  const { PamKeeper } = await import('../host/pam-keeper.js');
  const lost = (reason: string) => log.write('error', '-', 'pam-unavailable', { reason });
  const keeper = new PamKeeper({ ...options, atOnce, timeout }, lost);
  return { ask: pam((question, signal) => keeper.ask(question, signal)), close: () => keeper.close() };
}

/** Modules want root: to read shadow(5), to run as another user, to keep their own files. */
function mustBeRoot(): void {
  if (effectiveUid() === 0) return;
  throw new UsageError(
    '--auth pam needs root where passwords are checked: take mbox-pop3d-per-user.socket, or inetd, or start ' +
      '"serve" as root (it gives root up); or ask saslauthd, with --auth saslauthd',
    EX.NOPERM,
  );
}

/** Without a file for it, PAM takes that for "other", and lets in who is meant for something else. */
function mustBeConfigured(service: string): void {
  const places = ['/etc/pam.d', '/usr/lib/pam.d', '/usr/etc/pam.d'];
  if (places.some(place => existsSync(`${place}/${service}`))) return;
  throw new UsageError(
    `--auth pam: no /etc/pam.d/${service}: copy etc/pam.d/mbox-pop3d of the package there`,
    EX.CONFIG,
  );
}

function mustBeExecutable(program: string): void {
  try {
    accessSync(program, constants.X_OK);
  } catch (error) {
    throw new UsageError(
      `--checkpassword ${program}: ${errnoOf(error)}: not a program we may run`,
      EX.NOINPUT,
    );
  }
}

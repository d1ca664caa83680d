/**
 * Whom `serve` becomes when it is started as root. It must not stay root: one process parses what the
 * network sends and has every mailbox open. Named explicitly, else `mbox-pop3d`, else the owner of the
 * spool unless that is root; group `mail` unless another is named.
 */
import { statSync } from 'node:fs';
import type { Settings } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host, SystemUser } from '../host/host.js';

export interface ServiceIdentity {
  readonly user: SystemUser;
  readonly gid: number;
}

export const DEFAULT_USER = 'mbox-pop3d';
export const DEFAULT_GROUP = 'mail';

/** @throws UsageError EX_NOUSER or EX_CONFIG, saying what to create */
export function serviceIdentity(host: Host, settings: Settings): ServiceIdentity {
  const user = serviceUser(host, settings);
  if (user.uid === 0) throw new UsageError('--user root: the server never runs as root', EX.CONFIG);
  return { user, gid: serviceGroup(host, settings, user) };
}

function serviceUser(host: Host, settings: Settings): SystemUser {
  if (settings.user !== undefined) {
    const named = host.findUser(settings.user);
    if (named === undefined) throw new UsageError(`--user ${settings.user}: no such user`, EX.NOUSER);
    return named;
  }
  const usual = host.findUser(DEFAULT_USER);
  if (usual !== undefined) return usual;
  const { uid, gid } = statSync(settings.spool);
  if (uid !== 0) return { name: `uid ${uid}`, uid, gid };
  throw new UsageError(
    `started as root, and there is no user ${DEFAULT_USER} to become: create it with ` +
      `"useradd --system --gid ${DEFAULT_GROUP} --no-create-home ${DEFAULT_USER}", or name one with --user`,
    EX.NOUSER,
  );
}

function serviceGroup(host: Host, settings: Settings, user: SystemUser): number {
  const name = settings.group ?? DEFAULT_GROUP;
  const gid = host.findGroup(name);
  if (gid !== undefined) return gid;
  if (settings.group !== undefined) throw new UsageError(`--group ${name}: no such group`, EX.NOUSER);
  return user.gid;
}

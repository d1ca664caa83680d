/**
 * The per-user model: a process started as root for one client, which becomes that client's user before it
 * opens the mailbox (design §4, B). In order: commands are parsed with the effective uid of the service
 * account, if there is one; root is regained to check the secret; then, under root, the session lock is
 * taken and `STATE/USER` made; then root is given up for good, and only then is the mailbox opened.
 *
 * This is not privilege separation: until the drop, the process that parses could become root again.
 */
import { existsSync, lchownSync, lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Settings } from '../config.js';
import { EX, errnoOf, Unavailable, UsageError } from '../errors.js';
import type { Host, SystemUser } from '../host/host.js';
import type { Account, Authenticator } from '../pop3/ports.js';
import type { SessionServices, TlsOffer } from '../server/session.js';
import { effectiveUid, type Parts } from '../services.js';
import { DEFAULT_GROUP, DEFAULT_USER } from './service-user.js';
import { asSpoolGroup } from './spool-group.js';
import { syncEntry } from './state-dir.js';

export class PerUser {
  readonly #parser: SystemUser | undefined;
  readonly #mailGid: number | undefined;
  #dropped = false;

  constructor(
    private readonly host: Host,
    private readonly settings: Settings,
  ) {
    this.#parser = host.findUser(settings.user ?? DEFAULT_USER);
    this.#mailGid = host.findGroup(settings.group ?? DEFAULT_GROUP);
    if (settings.user !== undefined && this.#parser === undefined) {
      throw new UsageError(`--user ${settings.user}: no such user`, EX.NOUSER);
    }
    if (settings.group !== undefined && this.#mailGid === undefined) {
      throw new UsageError(`--group ${settings.group}: no such group`, EX.NOUSER);
    }
  }

  /** What the spool needs to open a mailbox as its owner. */
  get parts(): Pick<Parts, 'ownerOf' | 'becomeOwner' | 'asSpoolGroup'> {
    return {
      ownerOf: account => this.#userOf(account).uid,
      becomeOwner: account => this.#becomeOwner(account),
      asSpoolGroup: run => this.#asSpoolGroup(run),
    };
  }

  /** The backends with root only while they are asked something. */
  confineBackends(authenticator: Authenticator): Authenticator {
    return {
      checkPassword: (user, password, peer) =>
        this.#asRoot(() => authenticator.checkPassword(user, password, peer)),
      provable: () => this.#asRoot(() => authenticator.provable()),
      scramChallenge: (method, user, peer) =>
        this.#asRoot(() => authenticator.scramChallenge(method, user, peer)),
      checkProof: (proof, peer) => this.#asRoot(() => authenticator.checkProof(proof, peer)),
    };
  }

  /** Gives up root where it is not needed. @param services of backends that are confined */
  confine(services: SessionServices): SessionServices {
    this.#lower();
    return {
      ...services,
      openMaildrop: (account, peer, holder) =>
        this.#asRoot(() => services.openMaildrop(account, peer, holder)),
    };
  }

  /** TLS with root only for loading it: our own files may be out of the parser's reach. */
  confineTls(tls: TlsOffer): TlsOffer {
    return { ...tls, ready: () => this.#asRoot(() => tls.ready()) };
  }

  async #asRoot<T>(run: () => Promise<T>): Promise<T> {
    if (this.#parser !== undefined) this.host.regainRoot();
    try {
      return await run();
    } finally {
      this.#lower();
    }
  }

  #lower(): void {
    if (this.#dropped || this.#parser === undefined) return;
    this.host.setEffectiveUser(this.#parser.uid, this.#parser.gid);
  }

  /** The ids the mailbox belongs to. @throws Unavailable SYS/PERM when there are none, or root's */
  #userOf(account: Account): SystemUser {
    const known = this.host.findUser(account.user);
    const uid = account.uid ?? known?.uid;
    const gid = account.gid ?? known?.gid;
    if (uid === undefined || gid === undefined || uid === 0 || gid === 0) {
      throw new Unavailable('SYS/PERM', 'no mailbox for this user', {
        cause: new Error('neither users file nor passwd(5) gives a uid and gid, other than 0'),
      });
    }
    return { name: account.user, uid, gid };
  }

  async #becomeOwner(account: Account): Promise<void> {
    const { host, settings } = this;
    const user = this.#userOf(account);
    // Not before: the greeting does without the spool's code.
    const { userStateDir } = await import('../maildrop/user-state-dir.js');
    makeUserDirectory(userStateDir(settings.stateDir, account.user), user);
    await host.warmUp();
    host.becomeMailUser(user, this.#mailGid);
    this.#dropped = true;
  }

  #asSpoolGroup<T>(run: () => T): T {
    const gid = this.#mailGid;
    if (gid === undefined || !this.#dropped) return run();
    return asSpoolGroup(this.host, this.settings.spool, gid, run);
  }
}

/** `STATE/USER`, which its user must own: the journal is written after root was given up. */
function makeUserDirectory(dir: string, user: SystemUser): void {
  try {
    mkdirSync(dir, { mode: 0o700 });
  } catch (cause) {
    if (errnoOf(cause) !== 'EEXIST') {
      throw new Unavailable('SYS/TEMP', 'state directory cannot be made', { cause });
    }
  }
  const made = lstatSync(dir);
  // Root's: made just now, or by one of us that was killed here.
  if (made.isDirectory() && made.uid === 0 && readdirSync(dir).length === 0)
    lchownSync(dir, user.uid, user.gid);
  const stat = lstatSync(dir);
  if (!stat.isDirectory() || stat.uid !== user.uid || (stat.mode & 0o077) !== 0) {
    throw new Unavailable('SYS/PERM', 'state directory is not owned by its user', { cause: new Error(dir) });
  }
  // Until there is a journal: whoever made the directory may have been killed before this.
  if (!existsSync(join(dir, 'journal'))) syncEntry(dir);
}

/** No file is owned by it, so the mailbox is refused. */
const NOBODY_AT_ALL = -1;

/**
 * Who must own a mailbox where the process is not its user: the uid field of the users file, else
 * passwd(5), else ours; uid 0 never gets a mailbox.
 */
export function mailboxOwner(host: Host, account: Account): number {
  const uid = account.uid ?? host.findUser(account.user)?.uid ?? effectiveUid();
  return uid === 0 ? NOBODY_AT_ALL : uid;
}

/** The backends of `--auth`, in its order: the users file, the accounts of the system, and those outside. */
import type { Backend } from '../auth/chain.js';
import type { Settings } from '../config.js';
import type { Host } from '../host/host.js';
import type { Log } from '../log.js';
import type { Account, Authenticator } from '../pop3/ports.js';

export interface Backends {
  readonly authenticator: Authenticator;
  /** The account of a user as the users file has it, without any check. */
  account(user: string): Account | undefined;
  close(): Promise<void>;
}

/**
 * Opens the backends, which are loaded only now.
 * @param stays whether this process serves many, so that it notices changes of the users file at once, and
 *   gives up root, if it has it, before the first
 * @throws UsageError for a users file that is missing or cannot be read
 */
export async function openBackends(
  host: Host,
  log: Log,
  settings: Settings,
  stays: boolean,
): Promise<Backends> {
  const chain: Backend[] = [];
  const closers: (() => Promise<void>)[] = [];
  const { authCache: cacheLifetime } = settings;
  let users: import('../auth/users-file.js').UsersFile | undefined;
  for (const name of settings.auth) {
    if (name === 'users') {
      const { UsersFile } = await import('../auth/users-file.js');
      const { storedSaltKey } = await import('../auth/salts.js');
      users = await UsersFile.open({
        path: settings.users ?? '',
        host,
        log,
        saltKey: storedSaltKey(settings.stateDir),
        watch: stays,
        cacheLifetime,
      });
      chain.push(users);
      closers.push(() => users!.close());
    } else if (name === 'system') {
      const { SystemAccounts } = await import('../auth/system-accounts.js');
      // As for the users file: once root is given up, our own modules may be out of reach.
      if (stays) await (await import('../auth/password.js')).warmUpPasswords();
      chain.push(new SystemAccounts({ host, minimumUid: settings.minUid, cacheLifetime }));
    } else {
      const { openOutside } = await import('./outside-backends.js');
      const outside = await openOutside(name, host, log, settings, stays);
      chain.push(outside.backend);
      closers.push(outside.close);
    }
  }
  const { Chain } = await import('../auth/chain.js');
  const { Gate } = await import('../auth/gate.js');
  return {
    authenticator: new Gate(new Chain(chain), settings),
    account: user => users?.account(user),
    close: async () => {
      for (const close of closers) await close();
    },
  };
}

/** Opens the backends at the first login: the greeting does not wait for them. */
export function lazily(open: () => Promise<Backends>): Authenticator {
  let opened: Promise<Backends> | undefined;
  const backends = async () => {
    opened ??= open();
    try {
      return (await opened).authenticator;
    } catch (error) {
      opened = undefined;
      throw error;
    }
  };
  return {
    checkPassword: async (user, password, peer) => (await backends()).checkPassword(user, password, peer),
    provable: async () => (await backends()).provable(),
    scramChallenge: async (method, user, peer) => (await backends()).scramChallenge(method, user, peer),
    checkProof: async (proof, peer) => (await backends()).checkProof(proof, peer),
  };
}

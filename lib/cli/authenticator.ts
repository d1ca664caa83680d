/** The backends of `--auth`, in its order: the users file, the accounts of the system. */
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
 * @param watch whether to notice changes of the users file at once, for a process that stays
 * @throws UsageError for a users file that is missing or cannot be read
 */
export async function openBackends(
  host: Host,
  log: Log,
  settings: Settings,
  watch: boolean,
): Promise<Backends> {
  const chain: Authenticator[] = [];
  const { authCache: cacheLifetime } = settings;
  let users: import('../auth/users-file.js').UsersFile | undefined;
  for (const name of settings.auth) {
    if (name === 'users') {
      const { UsersFile } = await import('../auth/users-file.js');
      users = await UsersFile.open({ path: settings.users ?? '', host, log, watch, cacheLifetime });
      chain.push(users);
    } else {
      const { SystemAccounts } = await import('../auth/system-accounts.js');
      chain.push(new SystemAccounts({ host, minimumUid: settings.minUid, cacheLifetime }));
    }
  }
  const [only] = chain;
  const { Chain } = await import('../auth/chain.js');
  return {
    authenticator: only !== undefined && chain.length === 1 ? only : new Chain(chain),
    account: user => users?.account(user),
    close: async () => users?.close(),
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
    checkApop: async (user, timestamp, digest, peer) =>
      (await backends()).checkApop(user, timestamp, digest, peer),
  };
}

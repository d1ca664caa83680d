/**
 * The users file as an authenticator. The form of its lines is in users-lines.ts.
 *
 * Invariant: a login is checked against the file as it is. Each login looks whether the file has
 * changed (one stat(2)) and reads it again if so; chokidar only makes that happen sooner, so that the
 * log names a bad line when it is saved and the next login need not wait. A file that is gone or cannot
 * be read makes every check `Unavailable`: an old copy might let in somebody who was removed.
 */
import { dirname, resolve } from 'node:path';
import type { FSWatcher } from 'chokidar';
import { EX, errnoOf, Unavailable, UsageError } from '../errors.js';
import type { Log } from '../log.js';
import type {
  Account,
  Authenticator,
  Proof,
  ProofVerdict,
  Provable,
  ScramChallenge,
  ScramMethod,
  Verdict,
} from '../pop3/ports.js';
import { Credentials } from './credentials.js';
import { fileIdentity, readNow, readSettled, type Snapshot } from './file-snapshot.js';
import { type Crypt, warmUpPasswords } from './password.js';
import { Proofs } from './proofs.js';
import { ownSaltKey, type SaltKey } from './salts.js';
import { parseUsers } from './users-lines.js';
import { VerifiedLogins } from './verified-logins.js';

/** Malformed lines named in the log at each loading; a file that is no users file has thousands. */
const MAX_REPORTED = 20;

/** Milliseconds for which the methods worth being offered are those of the file as it was seen last. */
const PROVABLE_FOR = 1000;

export interface UsersFileOptions {
  readonly path: string;
  readonly host: Crypt;
  readonly log: Log;
  /** Default: one of this process. */
  readonly saltKey?: SaltKey;
  /** Watch for changes between logins; for a process that stays. */
  readonly watch: boolean;
  /** Milliseconds for which a right password is not hashed again; default 0. */
  readonly cacheLifetime?: number;
}

interface Loaded extends Snapshot {
  readonly credentials: Credentials;
  readonly proofs: Proofs;
}

export class UsersFile implements Authenticator {
  readonly #options: UsersFileOptions;
  readonly #verified: VerifiedLogins;
  readonly #saltKey: SaltKey;
  #loaded: Loaded;
  /** When the file was last looked at. */
  #seen = Number.NEGATIVE_INFINITY;
  #loading: Promise<void> | undefined;
  /** The reason last logged for being unavailable; logged once, not at each login. */
  #failure: string | undefined;
  #watcher: FSWatcher | undefined;

  private constructor(options: UsersFileOptions, first: Snapshot) {
    this.#options = options;
    this.#saltKey = options.saltKey ?? ownSaltKey();
    this.#verified = new VerifiedLogins({ lifetime: options.cacheLifetime ?? 0 });
    this.#loaded = this.#parse(first);
  }

  /**
   * Reads the file. Malformed lines are logged and left out.
   * @throws UsageError EX_NOINPUT when there is no such file, EX_NOPERM when it may not be read
   */
  static async open(options: UsersFileOptions): Promise<UsersFile> {
    const path = resolve(options.path);
    const first = await readNow(path).catch((error: unknown) => {
      throw new UsageError(`users file ${path}: ${describe(error)}`, exitCodeFor(error), { cause: error });
    });
    const file = new UsersFile({ ...options, path }, first);
    if (options.watch) {
      // A process that stays may give up the right to read our own modules; see `Host.warmUp`.
      await warmUpPasswords();
      await file.#watch();
    }
    return file;
  }

  async checkPassword(user: Uint8Array, password: Uint8Array): Promise<Verdict> {
    return (this.#unchanged() ?? (await this.#current())).credentials.checkPassword(user, password);
  }

  async provable(): Promise<Provable> {
    // Each login asks, and only for what is worth being offered; whether a password is right is not so old.
    const loaded = performance.now() - this.#seen < PROVABLE_FOR ? this.#loaded : await this.#current();
    return loaded.proofs.provable;
  }

  async scramChallenge(method: ScramMethod, user: Uint8Array): Promise<ScramChallenge> {
    return (await this.#current()).proofs.scramChallenge(method, user);
  }

  async checkProof(proof: Proof): Promise<ProofVerdict> {
    return (await this.#current()).proofs.checkProof(proof);
  }

  /** The account of a user as last read, without any check: for what the server does on its own. */
  account(user: string): Account | undefined {
    return this.#loaded.credentials.account(user);
  }

  /** Stops watching. */
  async close(): Promise<void> {
    await this.#watcher?.close();
  }

  /** The users as last read, if the file is as it was then: asked at once, since it usually is. */
  #unchanged(): Loaded | undefined {
    const loaded = this.#loaded;
    if (this.#failure !== undefined || loaded.fresh || this.#identity() !== loaded.identity) return undefined;
    this.#seen = performance.now();
    return loaded;
  }

  /** Undefined where `#current` will say why not. */
  #identity(): string | undefined {
    try {
      return fileIdentity(this.#options.path);
    } catch {
      return undefined;
    }
  }

  /** The users as the file has them now. Throws `Unavailable` when that cannot be told. */
  async #current(): Promise<Loaded> {
    const { path, log } = this.#options;
    try {
      const identity = fileIdentity(path);
      if (identity !== this.#loaded.identity || this.#loaded.fresh) {
        this.#loading ??= this.#reload().finally(() => {
          this.#loading = undefined;
        });
        await this.#loading;
      }
      this.#seen = performance.now();
      if (this.#failure !== undefined) log.write('info', '-', 'users-file-back', { file: path });
      this.#failure = undefined;
      return this.#loaded;
    } catch (cause) {
      const reason = describe(cause);
      if (reason !== this.#failure) log.write('error', '-', 'users-file-unavailable', { file: path, reason });
      this.#failure = reason;
      throw new Unavailable('SYS/TEMP', 'Cannot check passwords now', { cause });
    }
  }

  async #reload(): Promise<void> {
    const snapshot = await readSettled(this.#options.path);
    const { content, credentials, proofs } = this.#loaded;
    // Touched, or looked at again for being fresh: nothing to tell the log.
    if (snapshot.content.equals(content)) this.#loaded = { ...snapshot, credentials, proofs };
    else this.#loaded = this.#parse(snapshot);
  }

  #parse(snapshot: Snapshot): Loaded {
    const { path, log, host } = this.#options;
    const { users, problems } = parseUsers(snapshot.content);
    for (const { line, reason } of problems.slice(0, MAX_REPORTED)) {
      log.write('warn', '-', 'users-line', { at: `${path}:${line}`, reason });
    }
    log.write('info', '-', 'users-file', { file: path, users: users.size, problems: problems.length });
    return {
      ...snapshot,
      credentials: new Credentials(users, host, undefined, this.#verified),
      proofs: new Proofs(users, this.#saltKey),
    };
  }

  /** Watches the directory, not the file: a file that is replaced takes its watch with it. */
  async #watch(): Promise<void> {
    const { path, log } = this.#options;
    const directory = dirname(path);
    const { watch } = await import('chokidar');
    this.#watcher = watch(directory, {
      depth: 0,
      ignoreInitial: true,
      persistent: false,
      ignored: found => found !== directory && found !== path,
    });
    // A failure is logged by #current, and told to whoever logs in next.
    const look = () => void this.#current().catch(() => undefined);
    // At `ready` too: what changed before that gives no event.
    this.#watcher.on('ready', look).on('all', look);
    this.#watcher.on('error', error =>
      log.write('warn', '-', 'users-file-not-watched', { file: path, reason: describe(error) }),
    );
  }
}

function exitCodeFor(error: unknown): number {
  const errno = errnoOf(error);
  return errno === 'EACCES' || errno === 'EPERM' ? EX.NOPERM : EX.NOINPUT;
}

/** One line for the log and the command line, without the path, which stands beside it. */
function describe(error: unknown): string {
  switch (errnoOf(error)) {
    case 'ENOENT':
      return 'no such file';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

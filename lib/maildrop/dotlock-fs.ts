/**
 * The file system as proper-lockfile sees it: four calls about one lock. What can be answered at once is, in the same
 * turn, since most locks are taken and given back without anybody in the way.
 *
 * The package finds out how fine the times of files are, with two system calls at each lock, and notes the answer under
 * a symbol of its own at the object it was given. That is kept for all locks of one spool, which is one file system.
 */

type Callback<T = void> = (error: unknown, value?: T) => void;

/** The calls, in terms of a lock *file*. Each may throw, or reject, as those of node:fs do. */
export interface LockCalls {
  /** Takes the lock. @throws EEXIST */
  create(): void;
  /** Gives it back, or breaks the one that was looked at. */
  remove(): void | Promise<void>;
  /** The same of our own only, at once. */
  removeOwn(): void;
  look(): { mtime: Date } | Promise<{ mtime: Date }>;
  touch(path: string, atime: Date, mtime: Date): void | Promise<void>;
}

/** How fine the times of files are in one spool, once that is known. */
export class TimesOfFiles {
  #noted: { readonly symbol: symbol; readonly answer: unknown } | undefined;

  /** Tells the package what it has found out before. */
  tell(fs: LockFs): void {
    if (this.#noted !== undefined) fs[this.#noted.symbol] = this.#noted.answer;
  }

  /** It has taken a lock. */
  learn(fs: LockFs): void {
    if (this.#noted !== undefined) return;
    const [symbol] = Object.getOwnPropertySymbols(fs);
    if (symbol !== undefined) this.#noted = { symbol, answer: fs[symbol] };
  }
}

/** What goes into its option `fs`. */
export class LockFs {
  [noted: symbol]: unknown;

  constructor(private readonly calls: LockCalls) {}

  mkdir(_path: string, done: Callback): void {
    settle(() => this.calls.create(), done);
  }

  rmdir(_path: string, done: Callback): void {
    settle(() => this.calls.remove(), done);
  }

  rmdirSync(): void {
    this.calls.removeOwn();
  }

  stat(_path: string, done: Callback<{ mtime: Date }>): void {
    settle(() => this.calls.look(), done);
  }

  utimes(path: string, atime: Date, mtime: Date, done: Callback): void {
    settle(() => this.calls.touch(path, atime, mtime), done);
  }
}

function settle<T>(work: () => T | Promise<T>, done: Callback<T>): void {
  let value: T | Promise<T>;
  try {
    value = work();
  } catch (error) {
    done(error);
    return;
  }
  if (value instanceof Promise)
    value.then(
      settled => done(null, settled),
      error => done(error),
    );
  else done(null, value);
}

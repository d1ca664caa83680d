/**
 * How a delivery ends: an exit code of sysexits(3) as mail servers understand it, a line in the log, and if
 * it failed the same on standard error, which a mail server puts into its own log.
 *
 * A signal ends the process at once while nothing has been done; once the mailbox is being locked it only
 * asks, so that the mailbox is cut back and unlocked first.
 */
import { EX, UsageError } from '../errors.js';
import { type Log, silentLog } from '../log.js';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGXCPU'] as const;

/** Longest line for a mail server, in characters. */
const MAX_LINE = 500;

export class DeliveryEnd {
  user = '-';
  log: Log = silentLog;
  #unwinding = false;
  #signal: string | undefined;

  /** From now on every signal and every fault ends here. */
  constructor() {
    // Nobody reads what we say: no reason to fail.
    process.stderr.on('error', () => {});
    process.on('uncaughtException', error => this.failed(error));
    for (const name of SIGNALS) {
      process.on(name, () => {
        this.#signal = name;
        if (!this.#unwinding) this.failed(new Error(`interrupted by ${name}`));
      });
    }
  }

  /** The mailbox is touched from now on: signals wait for `check`. */
  unwindOnly(): void {
    this.#unwinding = true;
  }

  /** @throws Error after a signal */
  check(): void {
    if (this.#signal !== undefined) throw new Error(`interrupted by ${this.#signal}`);
  }

  delivered(): never {
    process.exit(0);
  }

  failed(error: unknown): never {
    const code = codeFor(error);
    const reason = reasonOf(error);
    this.log.write('error', '-', 'not-delivered', { user: this.user, status: code, reason });
    const line = `${this.user === '-' ? '' : `${this.user}: `}${reason}`.replace(/\s+/g, ' ');
    process.stderr.write(`mbox-pop3d: ${line.slice(0, MAX_LINE)}\n`);
    process.exit(code);
  }
}

/** What a retry cannot mend is told the sender; nothing else is. */
function codeFor(error: unknown): number {
  if (!(error instanceof UsageError)) return EX.TEMPFAIL;
  return error.exitCode === EX.USAGE || error.exitCode === EX.NOUSER ? error.exitCode : EX.TEMPFAIL;
}

/** The error and what caused it, each of which may be for the sysadmin. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (cause === undefined || (cause instanceof Error && error.message.includes(cause.message))) {
    return error.message;
  }
  return `${error.message}: ${reasonOf(cause)}`;
}

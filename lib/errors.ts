/**
 * The kinds of failure a session can meet. They are thrown anywhere below the session and turned
 * into a reply, or into the end of the connection, in one place: lib/server/session.ts.
 * Anything that is none of these is a bug: the client is told [SYS/TEMP], the connection ends, and
 * there is no UPDATE.
 */

/** The response codes of RFC 2449 §8.1.1 and RFC 3206 §4-5 that we use. */
export type ResponseCode = 'AUTH' | 'IN-USE' | 'SYS/TEMP' | 'SYS/PERM';

/** The client's fault: syntax, wrong state, no such message. `-ERR text`, and the session goes on. */
export class BadRequest extends Error {
  override readonly name = 'BadRequest';
  constructor(
    message: string,
    readonly code?: Extract<ResponseCode, 'AUTH'>,
  ) {
    super(message);
  }
}

/** Credentials refused. `reason` is for the log only: every client sees the same text (RFC 3206 §5). */
export class AuthenticationFailed extends Error {
  override readonly name = 'AuthenticationFailed';
  constructor(readonly reason: string) {
    super('Authentication failed');
  }
}

/** Ours or the host's fault. `-ERR [code] text`; the session ends too when `fatal`. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
  readonly fatal: boolean;
  constructor(
    readonly code: Exclude<ResponseCode, 'AUTH'>,
    /** For the client: one line of ASCII, without secrets or paths. */
    message: string,
    options: { cause?: unknown; fatal?: boolean } = {},
  ) {
    super(message, options);
    this.fatal = options.fatal ?? false;
  }
}

/** The socket is gone, a timer ran out or we are shutting down. Nothing is said; no UPDATE. */
export class Disconnected extends Error {
  override readonly name = 'Disconnected';
}

/** No TLS came about. The connection has been cut; `message` is why, in words of ours, for the log. */
export class HandshakeFailed extends Error {
  override readonly name = 'HandshakeFailed';
}

/** A mistake on the command line or in a file it names: one line on stderr and a sysexits(3) code. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  constructor(
    message: string,
    readonly exitCode: number,
    options: { cause?: unknown } = {},
  ) {
    super(message, options);
  }
}

/** sysexits(3), the ones we use. */
export const EX = {
  USAGE: 64,
  NOINPUT: 66,
  NOUSER: 67,
  UNAVAILABLE: 69,
  SOFTWARE: 70,
  CANTCREAT: 73,
  IOERR: 74,
  TEMPFAIL: 75,
  NOPERM: 77,
  CONFIG: 78,
} as const;

/** The errno name of a failed system call (`ENOENT`, ...), or undefined for any other error. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/**
 * One attempt to log in: check, wait when refused, open the maildrop. What a client sees of a refusal,
 * its text and its time, says nothing about its reason. RFC 1939 §4, RFC 3206 §5.
 */
import { AuthenticationFailed, BadRequest, Disconnected, Unavailable } from '../errors.js';
import type { Credentials } from '../pop3/authorization.js';
import type { Account, Maildrop, Peer } from '../pop3/ports.js';
import type { Connection } from './connection.js';
import type { Place } from './limits.js';
import type { LoginAttempt } from './logins.js';
import type { SessionLog } from './session-log.js';
import type { SessionServices } from './session-services.js';

export interface LoggedIn {
  readonly account: Account;
  /** The caller's to release, also when the client has left in the meantime. */
  readonly maildrop: Maildrop;
  /** Counts the user's connection out; to be called once, when it is over. */
  readonly leave: () => void;
}

/**
 * @throws AuthenticationFailed | Unavailable | Disconnected | BadRequest, for a client that breaks off
 */
export async function attemptLogin(
  services: SessionServices,
  peer: Peer,
  connection: Pick<Connection, 'pause' | 'mustBeOpen' | 'silentFor' | 'cut'>,
  log: SessionLog,
  credentials: Credentials,
  place: Place | undefined,
): Promise<LoggedIn> {
  const user = Buffer.from(credentials.user).toString();
  const { method } = credentials;
  let began = performance.now();
  let checked = false;
  let attempt: LoginAttempt | undefined;
  try {
    const begun = services.logins.begin(peer, credentials, place);
    attempt = begun instanceof Promise ? await begun : begun;
    if (attempt === undefined) throw tooMany();
    if (attempt.wait > 0) {
      await connection.pause(attempt.wait);
      began = performance.now();
    }
    const checking = attempt.check(credentials);
    const outcome = checking instanceof Promise ? await checking : checking;
    checked = true;
    if ('refused' in outcome) {
      // Before the wait, so that what reads the log (fail2ban) is not slower than the client.
      const waited = attempt.wait > 0 ? Math.round(attempt.wait / 1000) : undefined;
      log.write('info', 'login-failed', { user, reason: outcome.refused, method, waited });
      await connection.pause(untilAnswer(performance.now() - began, services.settings.failureDelay));
      throw new AuthenticationFailed(outcome.refused);
    }
    connection.mustBeOpen();
    if ('confirm' in credentials) await confirm(credentials, outcome);
    return await open(services, peer, connection, outcome.account, outcome.enter());
  } catch (error) {
    if (error instanceof Unavailable) {
      // Nothing was checked, nothing was waited for: it may come as often as anybody likes.
      log.failure('login-failed', error, { user, reason: error.code, method }, !checked);
    } else if (error instanceof BadRequest) {
      // Its proof was right, so nobody has guessed.
      log.write('info', 'login-failed', { user, reason: 'given up', method, message: error.message });
    } else if (!(error instanceof AuthenticationFailed || error instanceof Disconnected)) {
      log.write('info', 'login-failed', { user, reason: 'internal error', method });
    }
    throw error;
  } finally {
    attempt?.over();
  }
}

/**
 * Failures do not count here, so nobody fills a user's places from outside.
 * @param leave counts the user's connection out; undefined when there are too many already
 */
async function open(
  services: SessionServices,
  peer: Peer,
  connection: Pick<Connection, 'silentFor' | 'cut'>,
  account: Account,
  leave: (() => void) | undefined,
): Promise<LoggedIn> {
  if (leave === undefined) {
    throw new Unavailable('SYS/TEMP', 'too many connections of this user, try again later', { fatal: true });
  }
  const descriptors = services.descriptors?.logIn();
  if (services.descriptors !== undefined && descriptors === undefined) {
    leave();
    throw new Unavailable('SYS/TEMP', 'too many sessions, try again later', { fatal: true });
  }
  const end = () => {
    leave();
    descriptors?.end();
  };
  try {
    const holder = {
      silence: () => connection.silentFor(),
      cut: () => connection.cut('taken-over'),
      descriptors,
    };
    return { account, maildrop: await services.openMaildrop(account, peer, holder), leave: end };
  } catch (error) {
    end();
    throw error;
  }
}

/** The connection ends with it: whoever tries as many at a time is in no hurry to be told. */
function tooMany(): Unavailable {
  return new Unavailable('SYS/TEMP', 'too many login attempts from your address, try again later', {
    fatal: true,
  });
}

/** RFC 5802 §3: the client sees our proof, too, before anything else happens. */
async function confirm(
  credentials: Credentials,
  { serverSignature }: { readonly serverSignature?: Uint8Array },
): Promise<void> {
  if (!('confirm' in credentials) || credentials.confirm === undefined) return;
  if (serverSignature === undefined) throw new Error(`no signature of ours for ${credentials.method}`);
  await credentials.confirm(serverSignature);
}

/**
 * How long a refusal waits, in ms. It is answered one `delay` after the command came, or at the next
 * multiple when the check took longer: no such user and a slow hash then look the same.
 */
export function untilAnswer(elapsed: number, delay: number): number {
  if (delay <= 0) return 0;
  return Math.max(1, Math.ceil(elapsed / delay)) * delay - elapsed;
}

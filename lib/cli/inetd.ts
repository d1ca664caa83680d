/**
 * Started by inetd, xinetd or systemd with sockets already open: looks at what it was given and serves
 * that. This is the path where start-up is what a client waits for, so it loads no yargs, no chokidar and,
 * for a single connection, no listener; a test holds the list of what is loaded when the greeting goes out.
 *
 * Under inetd, descriptors 1 and 2 are the client's socket as well: they are replaced before anything can
 * write to them, and the log goes to syslog(3).
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { OPTIONS, type Settings, settingsFrom } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { loadHost } from '../host/load.js';
import { createLog, type Fields, type Level, type Log } from '../log.js';
import type { Account } from '../pop3/ports.js';
import { type Given, type GivenSocket, whatIsGiven } from '../server/given.js';
import { peerOf } from '../server/peer.js';
import { type SessionServices, serve } from '../server/session.js';
import { createServices, effectiveUid } from '../services.js';
import { lazily, openBackends } from './authenticator.js';
import { parseFlags } from './flags.js';
import { mailboxOwner, PerUser } from './per-user.js';
import { claimModel, ownDirectory, refuseOtherModel } from './state-dir.js';
import { stderrIsJournal } from './stderr-log.js';

/** TCP keepalive finds clients that vanished without a word, milliseconds of silence. */
const KEEPALIVE_AFTER = 60_000;

/** How long a client that is not served may keep us, milliseconds. */
const LINGER = 2000;

const USAGE =
  'a command is needed: serve, demo, recover, check or deliver (see --help), or a socket from inetd or systemd';

/**
 * Serves whatever the process was given; sets the exit code.
 * @param explicit the `inetd` command was named
 */
export async function inetd(args: readonly string[], explicit: boolean): Promise<void> {
  // A ring of io_uring made before root is given up would keep root's rights (CVE-2024-22017).
  process.env.UV_USE_IO_URING = '0';
  const { host, degraded } = await loadHost();
  const given: Given =
    degraded === undefined ? whatIsGiven(host, explicit) : { is: 'nothing', why: degraded };
  if (given.is === 'nothing') {
    // For whoever started us by hand; where descriptor 2 is what descriptor 0 is, it may be a client.
    if (fstatSync(2).ino !== fstatSync(0).ino || fstatSync(2).isCharacterDevice())
      process.stderr.write(`mbox-pop3d: ${USAGE} (${given.why})\n`);
    process.exitCode = degraded === undefined ? EX.USAGE : EX.UNAVAILABLE;
    return;
  }
  const logAt = takeOverOutput(host, given);
  // Node.js writes of it to descriptor 2, where nobody reads it any more.
  process.on('uncaughtExceptionMonitor', error => logAt('error').write('error', '-', 'crash', trace(error)));
  try {
    process.umask(0o077);
    refuseTls(given);
    const settings = settingsFrom(parseFlags(OPTIONS, args).values);
    const log = logAt(settings.logLevel);
    if (given.is === 'connection') await serveOne(host, log, settings, given.socket);
    else await (await import('./activated.js')).serveActivated(host, log, settings, given);
  } catch (error) {
    const reason = error instanceof UsageError ? { reason: error.message } : trace(error);
    logAt('error').write('error', '-', 'not-started', reason);
    process.exitCode = error instanceof UsageError ? error.exitCode : EX.SOFTWARE;
    if (given.is === 'connection') turnAway(given.socket);
  }
}

/**
 * Puts /dev/null where a client would see our output.
 * @returns makes the log that is left, which writes what is at least as grave as `threshold`
 */
function takeOverOutput(host: Host, given: Exclude<Given, { is: 'nothing' }>): (threshold: Level) => Log {
  const journal = stderrIsJournal();
  const sockets = socketsOf(given);
  const ours = new Set(sockets.map(({ fd }) => fstatSync(fd, { bigint: true }).ino));
  const nowhere = openSync('/dev/null', 'r+');
  const replaced = [1, 2].filter(fd => given.by === 'inetd' || ours.has(fstatSync(fd, { bigint: true }).ino));
  for (const fd of replaced) host.replaceDescriptor(nowhere, fd);
  closeSync(nowhere);
  if (!replaced.includes(2)) {
    return threshold => createLog(line => process.stderr.write(line), { journal, threshold });
  }
  host.openSyslog('mbox-pop3d');
  const sink = (line: string) => host.syslog(Number(line[1]), line.slice(3).trimEnd());
  return threshold => createLog(sink, { journal: true, threshold });
}

function socketsOf(given: Exclude<Given, { is: 'nothing' }>): readonly GivenSocket[] {
  return given.is === 'listeners' ? given.sockets : [given.socket];
}

/** A socket that is meant for TLS is not served without: clients would be asked for passwords in clear text. */
function refuseTls(given: Exclude<Given, { is: 'nothing' }>): void {
  if (socketsOf(given).every(({ name }) => name !== 'pop3s')) return;
  throw new UsageError('the socket named pop3s wants TLS, which this version has not: remove it', EX.CONFIG);
}

/** What an error that is a bug, or the host's, tells the log. */
function trace(error: unknown): Fields {
  if (!(error instanceof Error)) return { reason: String(error) };
  const [at1, at2, at3] = (error.stack ?? '').split('\n    at ').slice(1);
  return { reason: `${error.name}: ${error.message}`, at1, at2, at3 };
}

/** One client: as root by becoming its user, else with the ids we have. */
async function serveOne(host: Host, log: Log, settings: Settings, given: GivenSocket): Promise<void> {
  const services = connectionServices(host, log, settings);
  const socket = open(given);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEPALIVE_AFTER);
  const stop = new AbortController();
  // Each time, not once: a second signal must not cut short an UPDATE that the first one waits for.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stop.abort());
  await serve(socket, peerOf(socket), services, { signal: stop.signal });
}

function open({ fd }: GivenSocket): Socket {
  const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
  socket.on('error', () => socket.destroy());
  return socket;
}

/** Tells a client that will not be served, and ends as soon as the client has, or after a moment. */
function turnAway(given: GivenSocket): void {
  const socket = open(given);
  // Read to its end: closing over unread input makes TCP discard our line.
  socket.resume().on('end', () => socket.destroySoon());
  socket.end('-ERR [SYS/PERM] the server is not set up\r\n');
  setTimeout(() => socket.destroy(), LINGER).unref();
}

/** @throws UsageError for whatever the sysadmin must put right first */
function connectionServices(host: Host, log: Log, settings: Settings): SessionServices {
  const backends = lazily(() => openBackends(host, log, settings, false));
  const root = effectiveUid() === 0;
  const owner = { uid: effectiveUid(), gid: process.getegid?.() ?? -1 };
  const model = root ? 'per-user' : 'shared';
  refuseOtherModel(settings.stateDir, model);
  // Users reach their own directory in STATE through it, and see nothing else.
  ownDirectory(settings.stateDir, owner, root ? 0o711 : 0o700);
  ownDirectory(settings.runtimeDir, owner, 0o700);
  claimModel(settings.stateDir, model);
  if (!root) {
    const ownerOf = (account: Account) => mailboxOwner(host, account);
    return createServices(settings, { host, log, authenticator: backends, ownerOf });
  }
  const perUser = new PerUser(host, settings);
  return perUser.confine(createServices(settings, { host, log, authenticator: backends, ...perUser.parts }));
}

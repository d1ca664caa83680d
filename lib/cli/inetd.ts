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
import { parseArgs } from 'node:util';
import {
  fromEnvironment,
  OPTIONS,
  type OptionRow,
  type RawOptions,
  type Settings,
  settingsFrom,
} from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { loadHost } from '../host/load.js';
import { createLog, type Log } from '../log.js';
import type { Account } from '../pop3/ports.js';
import { type Given, type GivenSocket, whatIsGiven } from '../server/given.js';
import { peerOf } from '../server/peer.js';
import { type SessionServices, serve } from '../server/session.js';
import { createServices, effectiveUid } from '../services.js';
import { lazily, openBackends } from './authenticator.js';
import { mailboxOwner, PerUser } from './per-user.js';
import { claimModel, ownDirectory } from './state-dir.js';
import { stderrIsJournal } from './stderr-log.js';

/** TCP keepalive finds clients that vanished without a word, milliseconds of silence. */
const KEEPALIVE_AFTER = 60_000;

const USAGE = 'a command is needed: serve, demo or recover (see --help), or a socket from inetd or systemd';

/**
 * Serves whatever the process was given; sets the exit code.
 * @param explicit the `inetd` command was named
 */
export async function inetd(args: readonly string[], explicit: boolean): Promise<void> {
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
  const log = takeOverOutput(host, given);
  try {
    process.umask(0o077);
    const raw = parseFlags(args);
    if (given.is === 'connection') await serveOne(host, log, raw, given.socket);
    else await (await import('./activated.js')).serveActivated(host, log, raw, given);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    // Nobody reads what an inetd service prints.
    log.write('error', '-', 'not-started', { reason: error.message });
    process.exitCode = error.exitCode;
  }
}

/** Puts /dev/null where a client would see our output. @returns the log that is left */
function takeOverOutput(host: Host, given: Exclude<Given, { is: 'nothing' }>): Log {
  const journal = stderrIsJournal();
  const sockets = given.is === 'listeners' ? given.sockets : [given.socket];
  const ours = new Set(sockets.map(({ fd }) => fstatSync(fd, { bigint: true }).ino));
  const nowhere = openSync('/dev/null', 'r+');
  const replaced = [1, 2].filter(fd => given.by === 'inetd' || ours.has(fstatSync(fd, { bigint: true }).ino));
  for (const fd of replaced) host.replaceDescriptor(nowhere, fd);
  closeSync(nowhere);
  if (!replaced.includes(2)) return createLog(line => process.stderr.write(line), { journal });
  host.openSyslog('mbox-pop3d');
  return createLog(line => host.syslog(Number(line[1]), line.slice(3).trimEnd()), { journal: true });
}

/** The same flags as `serve`, read without yargs. @throws UsageError EX_USAGE */
function parseFlags(args: readonly string[]): RawOptions {
  const rows: [string, OptionRow][] = Object.entries(OPTIONS);
  const options = Object.fromEntries(
    rows.map(([name, { type }]) => [
      name,
      { type: type === 'boolean' ? ('boolean' as const) : ('string' as const), multiple: type === 'array' },
    ]),
  );
  try {
    const { values } = parseArgs({ args: [...args], options, strict: true, allowNegative: true });
    const environment = rows.map(([name, row]) => [name, fromEnvironment(name, row)]);
    return { ...Object.fromEntries(environment.filter(([, value]) => value !== undefined)), ...values };
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), EX.USAGE, { cause });
  }
}

/** One client: as root by becoming its user, else with the ids we have. */
async function serveOne(host: Host, log: Log, raw: RawOptions, given: GivenSocket): Promise<void> {
  const socket = new Socket({ fd: given.fd, readable: true, writable: true, allowHalfOpen: true });
  socket.on('error', () => socket.destroy());
  try {
    const settings = settingsFrom(raw);
    const services = connectionServices(host, log, settings);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEPALIVE_AFTER);
    const stop = new AbortController();
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => stop.abort());
    await serve(socket, peerOf(socket), services, { signal: stop.signal });
  } catch (error) {
    socket.end('-ERR [SYS/PERM] the server is not set up\r\n');
    throw error;
  }
}

/** @throws UsageError for whatever the sysadmin must put right first */
function connectionServices(host: Host, log: Log, settings: Settings): SessionServices {
  const backends = lazily(() => openBackends(host, log, settings, false));
  const root = effectiveUid() === 0;
  const owner = { uid: effectiveUid(), gid: process.getegid?.() ?? -1 };
  // Users reach their own directory in STATE through it, and see nothing else.
  ownDirectory(settings.stateDir, owner, root ? 0o711 : 0o700);
  ownDirectory(settings.runtimeDir, owner, 0o700);
  claimModel(settings.stateDir, root ? 'per-user' : 'shared');
  if (!root) {
    const ownerOf = (account: Account) => mailboxOwner(host, account);
    return createServices(settings, { host, log, authenticator: backends, ownerOf });
  }
  const perUser = new PerUser(host, settings);
  return perUser.confine(createServices(settings, { host, log, authenticator: backends, ...perUser.parts }));
}

/**
 * Started by inetd, xinetd or systemd with sockets already open: looks at what it was given and serves
 * that. Start-up is what a client waits for here, so a greeting that nothing can make untrue any more is said
 * at once, and the rest (koffi, the session) is loaded while it travels. This file loads none of that; a test
 * holds the list of what is loaded when the greeting goes out.
 *
 * Under inetd, descriptors 1 and 2 are the client's socket as well: they are replaced before anything can
 * write to them, and the log goes to syslog(3).
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import type { Socket } from 'node:net';
import { hostname } from 'node:os';
import { OPTIONS, type Settings, settingsFrom } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host, SocketKind } from '../host/host.js';
import { loadHost } from '../host/load.js';
import { createLog, type Fields, type Level, type Log, silentLog } from '../log.js';
import { type Given, type GivenSocket, openSocket, whatIsGiven } from '../server/given.js';
import { greetAtOnce } from '../server/greeting.js';
import { parseFlags } from './flags.js';
import type { Client } from './one-client.js';
import { ownDirectories } from './state-dir.js';
import { stderrIsJournal, writeStderr } from './stderr-log.js';
import { isImplicit, readCertificates } from './tls.js';

/** How long a client that is not served may keep us, milliseconds. */
const LINGER = 2000;

const USAGE =
  'a command is needed: serve, demo, recover, check, deliver or user (see --help), or a socket from inetd or systemd';

/** Makes the log that is left, which writes what is at least as grave as `threshold`. */
type LogOf = (host: Host, threshold: Level) => Log;

/**
 * Serves whatever the process was given; sets the exit code.
 * @param explicit the `inetd` command was named
 */
export async function inetd(args: readonly string[], explicit: boolean): Promise<void> {
  // A ring of io_uring made before root is given up would keep root's rights (CVE-2024-22017).
  process.env.UV_USE_IO_URING = '0';
  const opened = new Map<number, Socket>();
  const given = await whatIsGiven(fd => kindOf(fd, opened), explicit);
  if (given.is === 'nothing') return explain(given.why);
  const logOf = takeOverOutput(given);
  const socket = given.is === 'connection' ? opened.get(given.socket.fd) : undefined;
  const client = given.is === 'connection' && socket ? { ...given.socket, socket } : undefined;
  try {
    process.umask(0o077);
    const settings = settingsFrom(parseFlags(OPTIONS, args).values);
    if (client) await greetAndServe(logOf, settings, client);
    else if (given.is === 'listeners') {
      const { host, log } = await hostAndLog(logOf, settings);
      await (await import('./activated.js')).serveActivated(host, log, settings, given);
    }
  } catch (error) {
    process.exitCode = error instanceof UsageError ? error.exitCode : EX.SOFTWARE;
    const reason = error instanceof UsageError ? { reason: error.message } : trace(error);
    logOf((await loadHost()).host, 'error').write('error', '-', 'not-started', reason);
    if (client) turnAway(client);
  }
}

/** What a descriptor is: by Node.js if it can tell, as it can of inetd's clients, else by the native host. */
async function kindOf(fd: number, opened: Map<number, Socket>): Promise<SocketKind> {
  const socket = openSocket(fd);
  if (socket === undefined) return 'none';
  opened.set(fd, socket);
  // No other stream socket has a peer with an address.
  if (socket.remoteAddress !== undefined) return 'connected';
  const { host, degraded } = await loadHost();
  return degraded === undefined ? host.socketKind(fd) : 'none';
}

/** For whoever started us by hand; where descriptor 2 is what descriptor 0 is, it may be a client. */
async function explain(why: string): Promise<void> {
  const { degraded } = await loadHost();
  if (fstatSync(2).ino !== fstatSync(0).ino || fstatSync(2).isCharacterDevice())
    process.stderr.write(`mbox-pop3d: ${USAGE} (${degraded ?? why})\n`);
  process.exitCode = degraded === undefined ? EX.USAGE : EX.UNAVAILABLE;
}

/** Puts /dev/null where a client would see our output. */
function takeOverOutput(given: Exclude<Given, { is: 'nothing' }>): LogOf {
  const journal = stderrIsJournal();
  const sockets = socketsOf(given);
  const ours = new Set(sockets.map(({ fd }) => fstatSync(fd, { bigint: true }).ino));
  const replaced = [1, 2].filter(fd => given.by === 'inetd' || ours.has(fstatSync(fd, { bigint: true }).ino));
  for (const fd of replaced) {
    closeSync(fd);
    // open(2) gives the lowest number that is free, and 0 is not.
    if (openSync('/dev/null', 'r+') !== fd) throw new Error(`descriptor ${fd} is not the lowest free one`);
  }
  if (!replaced.includes(2)) {
    return (_, threshold) => createLog(writeStderr, { journal, threshold });
  }
  return (host, threshold) => {
    // Without koffi there is nobody to tell but whoever looks at the exit code.
    if (host.kind === 'portable') return silentLog;
    host.openSyslog('mbox-pop3d');
    const sink = (line: string) => host.syslog(Number(line[1]), line.slice(3).trimEnd());
    return createLog(sink, { journal: true, threshold });
  };
}

function socketsOf(given: Exclude<Given, { is: 'nothing' }>): readonly GivenSocket[] {
  return given.is === 'listeners' ? given.sockets : [given.socket];
}

/** @throws UsageError EX_UNAVAILABLE without the native host */
async function hostAndLog(logOf: LogOf, { logLevel }: Settings): Promise<{ host: Host; log: Log }> {
  const { host, degraded } = await loadHost();
  if (degraded !== undefined) throw new UsageError(degraded, EX.UNAVAILABLE);
  // Node.js writes of it to descriptor 2, where nobody reads it any more.
  process.on('uncaughtExceptionMonitor', error =>
    logOf(host, 'error').write('error', '-', 'crash', trace(error)),
  );
  return { host, log: logOf(host, logLevel) };
}

/** What an error that is a bug, or the host's, tells the log. */
function trace(error: unknown): Fields {
  if (!(error instanceof Error)) return { reason: String(error) };
  const [at1, at2, at3] = (error.stack ?? '').split('\n    at ').slice(1);
  return { reason: `${error.name}: ${error.message}`, at1, at2, at3 };
}

/** One client. @throws UsageError for whatever the sysadmin must put right first */
async function greetAndServe(logOf: LogOf, settings: Settings, client: Client): Promise<void> {
  const implicit = isImplicit(settings, client, client.socket.localPort);
  // Before anything that gives up root for a while, or for good.
  const pairs = await readCertificates(settings);
  ownDirectories(settings);
  const stop = new AbortController();
  // Each time, not once: a second signal must not cut short an UPDATE that the first one waits for.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stop.abort());
  const greeted = !implicit && isWelcome(settings) && greetAtOnce(client, hostname());
  const { serveOne } = await import('./one-client.js');
  const { host, log } = await hostAndLog(logOf, settings);
  await serveOne(host, log, settings, client, { implicit, pairs, greeted, signal: stop.signal });
}

/** Whether any client is, and by a greeting without anything in it that must be computed first. */
function isWelcome({ apop, proxyNets, allowNets, denyNets, user, group, kernel }: Settings): boolean {
  // An account that was named may not exist, a kernel that was named may not run.
  const certain = user === undefined && group === undefined && kernel !== 'wasm';
  return certain && !apop && [proxyNets, allowNets, denyNets].every(networks => networks.length === 0);
}

/** Tells a client that will not be served, and ends as soon as the client has, or after a moment. */
function turnAway({ name, socket }: Client): void {
  // Read to its end: closing over unread input makes TCP discard our line.
  socket.resume().on('end', () => socket.destroySoon());
  // A client that expects TLS could make nothing of it.
  const implicit = name === 'pop3s' || socket.localPort === 995;
  socket.end(implicit ? '' : '-ERR [SYS/PERM] the server is not set up\r\n');
  setTimeout(() => socket.destroy(), LINGER).unref();
}

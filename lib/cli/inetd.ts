/**
 * Started by inetd, xinetd or systemd with sockets already open: looks at what it was given and serves
 * that. This is the path where start-up is what a client waits for, so it loads no yargs, no chokidar and,
 * for a single connection, no listener; a test holds the list of what is loaded when the greeting goes out.
 *
 * Under inetd, descriptors 1 and 2 are the client's socket as well: they are replaced before anything can
 * write to them, and the log goes to syslog(3).
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { Socket, type SocketConstructorOpts } from 'node:net';
import { OPTIONS, type Settings, settingsFrom } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { loadHost } from '../host/load.js';
import { createLog, type Fields, type Level, type Log } from '../log.js';
import { Networks } from '../networks.js';
import type { Account, Peer } from '../pop3/ports.js';
import { type Given, type GivenSocket, whatIsGiven } from '../server/given.js';
import { peerOf } from '../server/peer.js';
import { READ_AHEAD, RECEIVE_BUFFER } from '../server/received.js';
import { type SessionServices, serve, type TlsOffer } from '../server/session.js';
import { createServices, effectiveUid, kernelFor } from '../services.js';
import { lazily, openBackends } from './authenticator.js';
import { parseFlags } from './flags.js';
import { mailboxOwner, PerUser } from './per-user.js';
import { claimModel, ownDirectory, refuseOtherModel } from './state-dir.js';
import { stderrIsJournal } from './stderr-log.js';
import { connectionTls, isImplicit, readCertificates } from './tls.js';

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
  const client = given.is === 'connection' ? { ...given.socket, socket: open(given.socket) } : undefined;
  // Node.js writes of it to descriptor 2, where nobody reads it any more.
  process.on('uncaughtExceptionMonitor', error => logAt('error').write('error', '-', 'crash', trace(error)));
  try {
    process.umask(0o077);
    const settings = settingsFrom(parseFlags(OPTIONS, args).values);
    const log = logAt(settings.logLevel);
    if (client) await serveOne(host, log, settings, client);
    else if (given.is === 'listeners') {
      await (await import('./activated.js')).serveActivated(host, log, settings, given);
    }
  } catch (error) {
    const reason = error instanceof UsageError ? { reason: error.message } : trace(error);
    logAt('error').write('error', '-', 'not-started', reason);
    process.exitCode = error instanceof UsageError ? error.exitCode : EX.SOFTWARE;
    if (client) turnAway(client);
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

/** What an error that is a bug, or the host's, tells the log. */
function trace(error: unknown): Fields {
  if (!(error instanceof Error)) return { reason: String(error) };
  const [at1, at2, at3] = (error.stack ?? '').split('\n    at ').slice(1);
  return { reason: `${error.name}: ${error.message}`, at1, at2, at3 };
}

/** The one client, and what systemd called its socket. */
interface Client extends GivenSocket {
  readonly socket: Socket;
}

/** One client: as root by becoming its user, else with the ids we have. */
async function serveOne(host: Host, log: Log, settings: Settings, client: Client): Promise<void> {
  const { socket } = client;
  const implicit = isImplicit(settings, client, socket.localPort);
  // Before anything that gives up root for a while, or for good.
  const pairs = await readCertificates(settings);
  const offer = await connectionTls(settings, log, pairs, implicit);
  const identify = await identification(settings, log, socket);
  if (settings.kernel === 'wasm') await kernelFor(settings.kernel, log);
  const { services, tls } = connectionServices(host, log, settings, offer);
  host.limitReceived(client.fd, RECEIVE_BUFFER);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEPALIVE_AFTER);
  const stop = new AbortController();
  // Each time, not once: a second signal must not cut short an UPDATE that the first one waits for.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stop.abort());
  const peer = await identify(stop.signal);
  if (peer) await serve(socket, peer, services, { signal: stop.signal, tls });
}

/**
 * How to find out who the client is: by the socket, or behind a front end by its header. Loads what that
 * needs, because it may be out of reach for whoever parses.
 * @returns undefined, once called, for a connection that is cut
 */
async function identification(
  { proxyNets, handshakeTimeout }: Settings,
  log: Log,
  socket: Socket,
): Promise<(signal: AbortSignal) => Promise<Peer | undefined>> {
  const peer = peerOf(socket);
  if (!new Networks(proxyNets).has(peer.address)) return async () => peer;
  const { clientBehind } = await import('../server/front-end.js');
  return signal => clientBehind(socket, peer, { timeout: handshakeTimeout, signal, log });
}

function open({ fd }: GivenSocket): Socket {
  const options: SocketConstructorOpts & { highWaterMark: number } = {
    fd,
    readable: true,
    writable: true,
    allowHalfOpen: true,
    highWaterMark: READ_AHEAD,
  };
  const socket = new Socket(options);
  socket.on('error', () => socket.destroy());
  return socket;
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

/** @throws UsageError for whatever the sysadmin must put right first */
function connectionServices(
  host: Host,
  log: Log,
  settings: Settings,
  tls: TlsOffer | undefined,
): { services: SessionServices; tls: TlsOffer | undefined } {
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
    return { services: createServices(settings, { host, log, authenticator: backends, ownerOf }), tls };
  }
  const perUser = new PerUser(host, settings);
  const services = createServices(settings, { host, log, authenticator: backends, ...perUser.parts });
  return { services: perUser.confine(services), tls: tls && perUser.confineTls(tls) };
}

/**
 * One of the processes that serve clients (`--workers`), started by the supervisor and ended by it. It
 * accepts on sockets that all workers have, and asks the supervisor for what they share.
 *
 * Invariants: it serves nobody without a supervisor; signals of a terminal, which reach every process there, are
 * the supervisor's to understand; an UPDATE always finishes.
 */
import { Socket } from 'node:net';
import { deserialize } from 'node:v8';
import type { Settings } from '../config.js';
import type { Host } from '../host/host.js';
import { loadHost } from '../host/load.js';
import { WORKER_PIPE, WORKER_SOCKETS } from '../host/worker-process.js';
import { createLog, type Log, silentLog } from '../log.js';
import type { Account } from '../pop3/ports.js';
import { DescriptorBudget } from '../server/descriptors.js';
import { TcpServer } from '../server/tcp.js';
import { Channel } from '../server/worker-channel.js';
import { RemoteAdmission, RemoteChallenger, remoteLogins } from '../server/worker-remote.js';
import { sessionServices, type WarmServices } from '../services.js';
import type { Certificates } from '../tls/certificates.js';
import type { PemPair } from '../tls/pem-files.js';
import { GRACE } from './foreground.js';
import { mailboxOwner } from './per-user.js';
import { stderrLog } from './stderr-log.js';
import type { SocketTls, WorkerStart } from './worker-start.js';

/** Octets: certificates and keys are the most there is. */
const MAX_MESSAGE = 64 * 1024 * 1024;

class Worker {
  readonly #channel: Channel;
  #server: TcpServer | undefined;
  #certificates: Certificates | undefined;
  /** The last that came after the start, perhaps before it was over. */
  #renewed: readonly PemPair[] | undefined;
  #log: Log = silentLog;
  #stopped: Promise<void> | undefined;

  constructor() {
    const pipe = new Socket({ fd: WORKER_PIPE, readable: true, writable: true });
    const handlers = {
      answer: (): never => {
        throw new Error('a worker is asked nothing');
      },
      hear: (name: string, _head: unknown, octets: Buffer) => this.#hear(name, octets),
      closed: (reason: string) => {
        if (this.#stopped === undefined) this.#log.write('error', '-', 'supervisor-lost', { reason });
        void this.#stop(GRACE);
      },
    };
    this.#channel = new Channel(pipe, handlers, MAX_MESSAGE);
    // Never without a listener: without any but its own, the signal-exit that proper-lockfile brings would
    // end the process in the middle of an UPDATE.
    for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
    // From a sysadmin, or from systemd, which tells the supervisor at the same time.
    process.on('SIGTERM', () => void this.#stop(GRACE));
    process.on('uncaughtExceptionMonitor', error =>
      this.#log.write('error', '-', 'crash', {
        reason: String(error),
        at: error.stack?.split('\n    at ')[1],
      }),
    );
  }

  #hear(name: string, octets: Buffer): void {
    switch (name) {
      case 'start':
        void this.#start(deserialize(octets) as WorkerStart);
        return;
      case 'certificates':
        this.#renewed = deserialize(octets) as PemPair[];
        this.#certificates?.use(this.#renewed);
        return;
      case 'stop':
        void this.#stop(deserialize(octets) as number);
        return;
      case 'cut':
        this.#server?.cut();
        return;
      case 'alive?':
        this.#channel.tell('alive');
    }
  }

  async #start({ settings, sockets, certificates, syslog }: WorkerStart): Promise<void> {
    process.umask(0o077);
    const { host, degraded } = await loadHost();
    if (degraded !== undefined) throw new Error(degraded);
    host.becomeUndumpable();
    this.#log = openLog(host, settings, syslog);
    if (certificates) {
      this.#certificates = await loadCertificates(settings, sockets, certificates);
      if (this.#renewed) this.#certificates.use(this.#renewed);
    }
    const services = this.#services(host, settings);
    // The first login would have to wait for it, and every other client of this worker with it.
    await services.warmUp();
    const server = new TcpServer({
      ...settings,
      services,
      log: this.#log,
      admission: new RemoteAdmission(this.#channel, settings.maxConnections),
    });
    this.#server = server;
    for (const [i, socket] of sockets.entries()) {
      const offer = socket && this.#offer(socket);
      await server.listenOn(WORKER_SOCKETS + i, () => offer);
    }
    // Told to stop meanwhile.
    if (this.#stopped !== undefined) return server.close(0);
    server.start();
    this.#channel.tell('ready');
  }

  #services(host: Host, settings: Settings): WarmServices {
    const channel = this.#channel;
    const own = sessionServices(settings, {
      host,
      log: this.#log,
      authenticator: new RemoteChallenger(channel),
      logins: remoteLogins,
      ownerOf: (account: Account) => mailboxOwner(host, account),
      onDiskFailure: () => channel.tell('disk-failed'),
    });
    return { ...own, descriptors: new DescriptorBudget() };
  }

  #offer({ implicit, minVersion }: SocketTls) {
    const certificates = this.#certificates;
    if (certificates === undefined) throw new Error('TLS without certificates');
    return {
      implicit,
      ready: async () => {},
      start: (stream: Parameters<Certificates['start']>[0]) => certificates.start(stream, minVersion),
    };
  }

  #stop(grace: number): Promise<void> {
    this.#stopped ??= (async () => {
      await this.#server?.close(grace);
      // Not left to the supervisor, which kills who closes the pipe: some files go with the process, by itself.
      process.exit();
    })();
    return this.#stopped;
  }
}

function openLog(host: Host, { logLevel }: Settings, syslog: boolean): Log {
  if (!syslog) return stderrLog(logLevel);
  host.openSyslog('mbox-pop3d');
  const sink = (line: string) => host.syslog(Number(line[1]), line.slice(3).trimEnd());
  return createLog(sink, { journal: true, threshold: logLevel });
}

/** The supervisor has checked them, and logs what there is to say about them. */
async function loadCertificates(
  { handshakeTimeout }: Settings,
  sockets: readonly (SocketTls | undefined)[],
  { pairs, ticketSecret }: NonNullable<WorkerStart['certificates']>,
): Promise<Certificates> {
  const { Certificates } = await import('../tls/certificates.js');
  const minVersions = new Set(sockets.flatMap(socket => socket?.minVersion ?? []));
  return new Certificates({ pairs, minVersions, handshakeTimeout, log: silentLog, ticketSecret });
}

new Worker();

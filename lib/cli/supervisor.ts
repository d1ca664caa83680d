/**
 * Several processes that serve as one (`--workers`). The supervisor opens the listening sockets and gives up
 * root; its workers accept on them and ask it for what they share (worker-authority.ts). One that crashes is
 * replaced, later each time it happens soon again, and costs the others nothing; one that does not answer any more
 * is killed: what it was writing is in its journal, and who waits for it would wait for ever.
 *
 * Invariants: the supervisor accepts no connection and parses nothing that a client sends; a worker never has
 * been root, and none of these processes can trace another, once that has loaded what hides it; none outlives the
 * supervisor but to finish what it has begun, and none that answers and makes sense is killed.
 */
import { serialize } from 'node:v8';
import type { Settings } from '../config.js';
import { EX, UsageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { startWorker, type WorkerProcess } from '../host/worker-process.js';
import type { Log } from '../log.js';
import { type IdleOptions, IdleWatch } from '../server/idle-watch.js';
import { ConnectionLimits } from '../server/limits.js';
import { ListeningSockets } from '../server/listening-sockets.js';
import { WorkerAuthority } from '../server/worker-authority.js';
import type { Services } from '../services.js';
import { packageFile } from './package.js';
import { Pulse } from './pulse.js';
import type { ServerTls } from './tls.js';
import type { WorkerStart } from './worker-start.js';

/** Milliseconds until a worker that was lost is replaced, at first and at last. */
const DELAY = { least: 100, most: 30_000 };
/** A worker that has lived so long did not fail at its start, milliseconds. */
const LIVED = 60_000;

export interface SupervisorOptions {
  readonly host: Host;
  readonly log: Log;
  readonly settings: Settings;
  readonly services: Services;
  readonly tls: ServerTls | undefined;
  readonly maxConnections: number;
  readonly onIdle: IdleOptions;
  /** Whether the workers log by syslog(3), not to descriptor 2. */
  readonly syslog: boolean;
  /** A worker is gone that was not told to. */
  readonly onLost: () => void;
  readonly onDiskFailure: () => void;
}

interface Worker {
  readonly process: WorkerProcess;
  readonly authority: WorkerAuthority;
  readonly began: number;
  readonly pulse: Pulse;
}

export class Supervisor {
  readonly #sockets: ListeningSockets;
  readonly #admission: ConnectionLimits;
  readonly #workers = new Set<Worker>();
  readonly #idle: IdleWatch;
  readonly #restarts = new Set<NodeJS.Timeout>();
  #failures = 0;
  #stopping = false;
  #allGone: () => void = () => {};

  constructor(private readonly options: SupervisorOptions) {
    const { host, settings, maxConnections, onIdle } = options;
    this.#sockets = new ListeningSockets(fd => host.duplicateDescriptor(fd), settings.backlog);
    this.#admission = new ConnectionLimits(maxConnections, settings.maxConnectionsPerAddress);
    this.#idle = new IdleWatch(onIdle, () => this.connections);
  }

  /** Connections open now, of all workers. */
  get connections(): number {
    return this.#admission.total;
  }

  readonly listen: ListeningSockets['listen'] = addresses => this.#sockets.listen(addresses);
  readonly listenOn: ListeningSockets['listenOn'] = (fd, tlsOf) => this.#sockets.listenOn(fd, tlsOf);

  /** Starts the workers; clients are served when it resolves. @throws UsageError when one does not start */
  async start(): Promise<void> {
    const { host, settings, tls } = this.options;
    // The workers are the same user as we are: one that was taken over could do here whatever it likes.
    host.becomeUndumpable();
    tls?.onChange(pairs => this.#tell('certificates', serialize(pairs)));
    const begun = Array.from({ length: settings.workers }, () => this.#launch());
    const outcomes = await Promise.all(begun.map(({ ready }) => ready));
    const failed = outcomes.find(outcome => outcome !== 'ready');
    if (failed !== undefined) {
      await this.close(0);
      throw new UsageError(
        `a worker did not start: ${failed}; see the log, and whether ${process.execPath} and ${WORKER} can be ` +
          'read by whom the server becomes',
        EX.UNAVAILABLE,
      );
    }
    this.#idle.look();
  }

  /** The contract is `TcpServer.close`. */
  async close(grace: number): Promise<void> {
    this.#stopping = true;
    this.#idle.close();
    this.#sockets.close();
    for (const timer of this.#restarts) clearTimeout(timer);
    this.#tell('stop', serialize(grace));
    if (this.#workers.size === 0) return;
    await new Promise<void>(resolve => {
      this.#allGone = resolve;
    });
  }

  /** The contract is `TcpServer.cut`. */
  cut(): void {
    this.#tell('cut');
  }

  #tell(name: string, octets?: Uint8Array): void {
    for (const { authority } of this.#workers) authority.channel.tell(name, {}, octets);
  }

  /** @returns `ready` resolves to that word, or to why the worker is gone before it was */
  #launch(): { ready: Promise<string> } {
    const { services, log, onDiskFailure } = this.options;
    const process = startWorker(
      WORKER,
      this.#sockets.all.map(({ fd }) => fd),
    );
    let isReady: () => void = () => {};
    const ready = new Promise<string>(resolve => {
      isReady = () => resolve('ready');
    });
    const shared = { ...services, admission: this.#admission };
    const authority = new WorkerAuthority(process.pipe, shared, {
      left: () => this.#idle.look(),
      heard: name => {
        if (name === 'ready') isReady();
        if (name === 'disk-failed') onDiskFailure();
        if (name === 'alive') pulse.heard();
      },
      closed: (reason, nonsense) => {
        // Usually it is gone already.
        const { connections } = authority;
        if (nonsense)
          log.write('error', '-', 'worker-distrusted', { worker: process.pid, reason, connections });
        else log.write('debug', '-', 'worker-closed', { worker: process.pid, reason });
        process.kill();
      },
    });
    const { workerTimeout } = this.options.settings;
    const ask = () => authority.channel.tell('alive?');
    const pulse = new Pulse(workerTimeout, ask, () => {
      const { connections } = authority;
      const reason = `no answer for ${workerTimeout / 1000} s`;
      log.write('error', '-', 'worker-hung', { worker: process.pid, reason, connections });
      process.kill();
    });
    const worker = { process, authority, pulse, began: performance.now() };
    this.#workers.add(worker);
    authority.channel.tell('start', {}, serialize(this.#startOf()));
    const gone = process.gone.then(why => {
      this.#gone(worker, why);
      return why;
    });
    return { ready: Promise.race([ready, gone]) };
  }

  #startOf(): WorkerStart {
    const { settings, maxConnections, tls, syslog } = this.options;
    return {
      settings: { ...settings, maxConnections },
      sockets: this.#sockets.all.map(
        ({ tls: offer }) =>
          offer && { implicit: offer.implicit, minVersion: offer.minVersion ?? settings.tlsMin },
      ),
      certificates: tls && { pairs: tls.pairs, ticketSecret: tls.ticketSecret },
      syslog,
    };
  }

  #gone(worker: Worker, why: string): void {
    const { connections } = worker.authority;
    worker.authority.channel.close('the worker is gone');
    worker.authority.release();
    worker.pulse.stop();
    this.#workers.delete(worker);
    const fields = { worker: worker.process.pid, reason: why, connections };
    if (this.#stopping) {
      // One that is done closes its pipe, and is killed for that.
      if (worker.pulse.silent || !/^(?:SIGKILL|exit code 0)$/.test(why)) {
        this.options.log.write('error', '-', 'worker-lost', fields);
        this.options.onLost();
      }
      if (this.#workers.size === 0) this.#allGone();
      return;
    }
    this.#failures = performance.now() - worker.began < LIVED ? this.#failures + 1 : 1;
    const delay = Math.min(DELAY.most, DELAY.least * 2 ** (this.#failures - 1));
    this.options.log.write('error', '-', 'worker-lost', { ...fields, again: delay / 1000 });
    this.#idle.look();
    this.options.onLost();
    const timer = setTimeout(() => {
      this.#restarts.delete(timer);
      this.#launchAgain();
    }, delay);
    this.#restarts.add(timer);
  }

  #launchAgain(): void {
    try {
      const { ready } = this.#launch();
      void ready.then(outcome => {
        if (outcome === 'ready') this.options.log.write('info', '-', 'worker-replaced');
      });
    } catch (error) {
      // No descriptors, no memory: there may be some later.
      this.options.log.write('error', '-', 'worker-lost', {
        reason: String(error),
        again: DELAY.most / 1000,
      });
      const timer = setTimeout(() => {
        this.#restarts.delete(timer);
        this.#launchAgain();
      }, DELAY.most);
      this.#restarts.add(timer);
    }
  }
}

const WORKER = packageFile('dist/lib/cli/worker.js');

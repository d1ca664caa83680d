/**
 * Listens on TCP and hands each connection to `serve`. One process serves all; what one client does
 * costs the others nothing but their turn. `close` drains: new connections are refused at once, idle
 * sessions end without UPDATE, a command in progress gets `grace`, and an UPDATE always finishes.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { EX, errnoOf, UsageError } from '../errors.js';
import type { Log } from '../log.js';
import { ConnectionLimits } from './limits.js';
import { peerOf } from './peer.js';
import { type SessionServices, serve } from './session.js';

/** TCP keepalive finds clients that vanished without a word, milliseconds of silence. */
const KEEPALIVE_AFTER = 60_000;

export interface TcpOptions {
  readonly services: SessionServices;
  readonly log: Log;
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  /** What to do when nobody has been connected for so many milliseconds; 0 for never. */
  readonly onIdle?: { readonly after: number; readonly leave: () => void };
}

export class TcpServer {
  readonly #servers: Server[] = [];
  readonly #sessions = new Map<Socket, Promise<void>>();
  readonly #draining = new AbortController();
  readonly #limits: ConnectionLimits;
  /** Connections from before `start`; undefined after it. */
  #waiting: Socket[] | undefined = [];
  #idle: NodeJS.Timeout | undefined;

  constructor(private readonly options: TcpOptions) {
    this.#limits = new ConnectionLimits(options.maxConnections, options.maxConnectionsPerAddress);
  }

  /**
   * Listens on all of these addresses, or on none. Who connects waits for `start`.
   * @param addresses a `host` of undefined is all addresses, IPv6 and IPv4
   * @returns what the system bound, in the same order
   * @throws UsageError EX_UNAVAILABLE or EX_NOPERM, naming the address
   */
  async listen(addresses: readonly { host: string | undefined; port: number }[]): Promise<AddressInfo[]> {
    const bound: AddressInfo[] = [];
    try {
      for (const { host, port } of addresses) bound.push(await this.#listen(host, port));
    } catch (error) {
      await this.close(0);
      throw error;
    }
    return bound;
  }

  /** Listens on a socket that somebody else has opened. Who connects waits for `start`. */
  async listenOn(fd: number): Promise<void> {
    await this.#open(server => server.listen({ fd }));
  }

  /** Serves, from now on: a process that gives up root does so between `listen` and this. */
  start(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const socket of waiting) this.#accept(socket);
    this.#watchIdle();
  }

  async #listen(host: string | undefined, port: number): Promise<AddressInfo> {
    try {
      const server = await this.#open(opening =>
        opening.listen({ port, ...(host !== undefined && { host }) }),
      );
      return server.address() as AddressInfo;
    } catch (cause) {
      throw cannotListen(host, port, cause);
    }
  }

  /** @param listen makes the server listen; rejects with what stops it */
  async #open(listen: (server: Server) => void): Promise<Server> {
    // allowHalfOpen: a client that sends everything up to QUIT and closes its side still gets its answers.
    const server = createServer({ allowHalfOpen: true, noDelay: true }, socket => {
      // Without a listener, an error of a socket nobody reads from would end the process.
      socket.on('error', () => socket.destroy());
      if (this.#waiting) this.#waiting.push(socket);
      else this.#accept(socket);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.once('listening', resolve);
      listen(server);
    });
    server.removeAllListeners('error');
    // EMFILE and the like: this connection is lost, the next may not be.
    server.on('error', error =>
      this.options.log.write('error', '-', 'accept-failed', { reason: error.message }),
    );
    this.#servers.push(server);
    return server;
  }

  /** Starts the idle time again, unless somebody is connected. */
  #watchIdle(): void {
    const { onIdle } = this.options;
    clearTimeout(this.#idle);
    if (onIdle === undefined || onIdle.after === 0 || this.connections > 0) return;
    this.#idle = setTimeout(() => {
      if (this.connections === 0) onIdle.leave();
    }, onIdle.after);
  }

  /** Connections open now. */
  get connections(): number {
    return this.#limits.total;
  }

  /**
   * Ends all: resolves when the last session has released its maildrop.
   * @param grace milliseconds a command in progress gets before its connection is cut
   */
  async close(grace: number): Promise<void> {
    const closed = this.#servers.map(server => new Promise<void>(resolve => server.close(() => resolve())));
    this.#draining.abort();
    clearTimeout(this.#idle);
    for (const socket of this.#waiting ?? []) socket.destroy();
    const cut = setTimeout(() => this.cut(), grace);
    await Promise.all(this.#sessions.values());
    clearTimeout(cut);
    await Promise.all(closed);
  }

  /** Cuts every connection that is left. A session in the UPDATE state finishes it all the same. */
  cut(): void {
    for (const socket of this.#sessions.keys()) socket.destroy();
  }

  #accept(socket: Socket): void {
    const peer = peerOf(socket);
    const entry = this.#limits.enter(peer.address);
    if ('refused' in entry) {
      this.options.log.write('warn', peer.address, 'refused', { reason: entry.refused });
      refuse(socket, `-ERR [SYS/TEMP] ${entry.refused}, try again later\r\n`);
      return;
    }
    socket.setKeepAlive(true, KEEPALIVE_AFTER);
    const session = serve(socket, peer, this.options.services, { signal: this.#draining.signal });
    this.#sessions.set(
      socket,
      session.finally(() => {
        this.#sessions.delete(socket);
        entry.leave();
        this.#watchIdle();
      }),
    );
  }
}

/** Says why and closes, without reading, so that a flood costs one packet each. */
function refuse(socket: Socket, line: string): void {
  socket.end(line, () => socket.destroy());
}

function cannotListen(host: string | undefined, port: number, cause: unknown): UsageError {
  const where = `${host === undefined ? '*' : host.includes(':') ? `[${host}]` : host}:${port}`;
  switch (errnoOf(cause)) {
    case 'EADDRINUSE':
      return new UsageError(`cannot listen on ${where}: the address is in use`, EX.UNAVAILABLE, { cause });
    case 'EACCES':
      return new UsageError(`cannot listen on ${where}: permission denied`, EX.NOPERM, { cause });
    default:
      return new UsageError(
        `cannot listen on ${where}: ${cause instanceof Error ? cause.message : cause}`,
        EX.UNAVAILABLE,
        { cause },
      );
  }
}

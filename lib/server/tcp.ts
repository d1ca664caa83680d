/**
 * Listens on TCP and hands each connection to `serve`. One process serves all; what one client does
 * costs the others nothing but their turn. `close` drains: new connections are refused at once, idle
 * sessions end without UPDATE, a command in progress gets `grace`, and an UPDATE always finishes.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { EX, errnoOf, UsageError } from '../errors.js';
import type { Log } from '../log.js';
import { Networks } from '../networks.js';
import type { Peer } from '../pop3/ports.js';
import { clientBehind } from './front-end.js';
import { IdleWatch } from './idle-watch.js';
import { type Admission, ConnectionLimits, type Place } from './limits.js';
import { peerOf } from './peer.js';
import { READ_AHEAD, RECEIVE_BUFFER } from './received.js';
import { RefusalLog } from './refusal-log.js';
import { Roster } from './roster.js';
import { type SessionServices, serve, type TlsOffer } from './session.js';
import { descriptorOf, KEEPALIVE_AFTER } from './socket.js';

export interface TcpOptions {
  readonly services: SessionServices;
  readonly log: Log;
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  /** Who counts connections, if not this server by itself. */
  readonly admission?: Admission | undefined;
  /** Connections that the system keeps until they are accepted. Default 511. */
  readonly backlog?: number;
  /** Networks of front ends: who connects from there must begin with a PROXY header. Default: none. */
  readonly proxyNets?: readonly string[];
  /** For the PROXY header, in ms. Default 30000. */
  readonly handshakeTimeout?: number;
  /** What to do when nobody has been connected for so many milliseconds; 0 for never. */
  readonly onIdle?: { readonly after: number; readonly leave: () => void };
}

export interface TcpAddress {
  /** Undefined for all addresses, IPv6 and IPv4. */
  readonly host: string | undefined;
  readonly port: number;
  /** What there is of TLS for those who connect here. */
  readonly tls?: TlsOffer | undefined;
}

export type TlsOf = (socket: { readonly localPort?: number | undefined }) => TlsOffer | undefined;

/** A connection, and what its listener offers. */
interface Accepted {
  readonly socket: Socket;
  readonly tls: TlsOffer | undefined;
}

/** One that is served, or refused. */
interface Served {
  readonly socket: Socket;
  /** It is over, and all it held released. */
  readonly over: Promise<void>;
}

export class TcpServer {
  readonly #servers: Server[] = [];
  readonly #sessions = new Roster<Served>();
  readonly #draining = new AbortController();
  readonly #limits: Admission;
  readonly #frontEnds: Networks;
  readonly #refusals: RefusalLog;
  readonly #backlog: number;
  /** Connections from before `start`; undefined after it. */
  #waiting: Accepted[] | undefined = [];
  readonly #idle: IdleWatch | undefined;

  constructor(private readonly options: TcpOptions) {
    this.#limits =
      options.admission ?? new ConnectionLimits(options.maxConnections, options.maxConnectionsPerAddress);
    this.#idle = options.onIdle && new IdleWatch(options.onIdle, () => this.connections);
    this.#refusals = new RefusalLog(options.log);
    this.#backlog = options.backlog ?? 511;
    this.#frontEnds = new Networks(options.proxyNets ?? []);
  }

  /**
   * Listens on all of these addresses, or on none. Who connects waits for `start`.
   * @returns what the system bound, in the same order
   * @throws UsageError EX_UNAVAILABLE or EX_NOPERM, naming the address
   */
  async listen(addresses: readonly TcpAddress[]): Promise<AddressInfo[]> {
    const bound: AddressInfo[] = [];
    try {
      for (const address of addresses) bound.push(await this.#listen(address));
    } catch (error) {
      await this.close(0);
      throw error;
    }
    return bound;
  }

  /**
   * Listens on a socket that somebody else has opened. Who connects waits for `start`.
   * @param tlsOf what there is of TLS for this connection
   * @returns the port, of a socket that has one
   */
  async listenOn(fd: number, tlsOf: TlsOf): Promise<number | undefined> {
    const address = (
      await this.#open(server => server.listen({ fd, backlog: this.#backlog }), tlsOf)
    ).address();
    return address !== null && typeof address === 'object' ? address.port : undefined;
  }

  /** Serves, from now on: a process that gives up root does so between `listen` and this. */
  start(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const accepted of waiting) this.#accept(accepted);
    this.#idle?.look();
  }

  async #listen({ host, port, tls }: TcpAddress): Promise<AddressInfo> {
    try {
      const server = await this.#open(
        opening => opening.listen({ port, backlog: this.#backlog, ...(host !== undefined && { host }) }),
        () => tls,
      );
      return server.address() as AddressInfo;
    } catch (cause) {
      throw cannotListen(host, port, cause);
    }
  }

  /** @param listen makes the server listen; rejects with what stops it */
  async #open(listen: (server: Server) => void, tlsOf: TlsOf): Promise<Server> {
    // allowHalfOpen: a client that sends everything up to QUIT and closes its side still gets its answers.
    const server = createServer({ allowHalfOpen: true, noDelay: true, highWaterMark: READ_AHEAD }, socket => {
      // Without a listener, an error of a socket nobody reads from would end the process.
      socket.on('error', () => socket.destroy());
      const accepted = { socket, tls: tlsOf(socket) };
      if (this.#waiting === undefined) this.#accept(accepted);
      else if (this.#waiting.length < this.options.maxConnections) this.#waiting.push(accepted);
      else this.#refuse(accepted, peerOf(socket), 'too many connections');
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.once('listening', resolve);
      listen(server);
    });
    server.removeAllListeners('error');
    const fd = descriptorOf(server);
    if (fd !== undefined) this.options.services.limitReceived(fd, RECEIVE_BUFFER);
    // EMFILE and the like: this connection is lost, the next may not be.
    server.on('error', error =>
      this.#refusals.write('error', '-', 'accept-failed', { reason: error.message }),
    );
    this.#servers.push(server);
    return server;
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
    this.#idle?.close();
    for (const { socket } of this.#waiting ?? []) socket.destroy();
    const cut = setTimeout(() => this.cut(), grace);
    await Promise.all(Array.from(this.#sessions, ({ over }) => over));
    clearTimeout(cut);
    this.#refusals.close();
    await Promise.all(closed);
  }

  /** Cuts every connection that is left. A session in the UPDATE state finishes it all the same. */
  cut(): void {
    for (const { socket } of this.#sessions) socket.destroy();
  }

  #accept(accepted: Accepted): void {
    const { socket } = accepted;
    const over = this.#admit(accepted).finally(() => {
      remove();
      this.#idle?.look();
    });
    const remove = this.#sessions.add({ socket, over });
  }

  async #admit(accepted: Accepted): Promise<void> {
    const { socket } = accepted;
    const peer = peerOf(socket);
    const behind = this.#frontEnds.has(peer.address);
    const { descriptors } = this.options.services;
    const give = descriptors?.connect();
    if (descriptors !== undefined && give === undefined) {
      return this.#refuse(accepted, peer, 'too many connections');
    }
    let place: Place | undefined;
    try {
      const asked = this.#limits.enter(behind ? undefined : peer.address);
      const entered = asked instanceof Promise ? await asked : asked;
      if ('refused' in entered) return this.#refuse(accepted, peer, entered.refused);
      place = entered;
      socket.setKeepAlive(true, KEEPALIVE_AFTER);
      if (behind) await this.#serveBehind(accepted, peer, place);
      else await this.#serve(accepted, peer, place);
    } finally {
      place?.leave();
      give?.();
    }
  }

  /** A connection from a front end: it counts for its client, not for the front end. */
  async #serveBehind(accepted: Accepted, proxy: Peer, place: Place): Promise<void> {
    const { handshakeTimeout: timeout = 30_000 } = this.options;
    const { signal } = this.#draining;
    const client = await clientBehind(accepted.socket, proxy, { timeout, signal, log: this.#refusals });
    if (client === undefined) return;
    const refused = await place.countFor(client.address);
    if (refused !== undefined) this.#refuse(accepted, client, refused);
    else await this.#serve(accepted, client, place);
  }

  #serve({ socket, tls }: Accepted, peer: Peer, place: Place): Promise<void> {
    const options = { signal: this.#draining.signal, tls, strangers: this.#refusals, place };
    return serve(socket, peer, this.options.services, options);
  }

  /**
   * Says why and closes, without reading, so that a flood costs one packet each; and at once, or those of the same
   * turn would have all descriptors together.
   */
  #refuse({ socket, tls }: Accepted, { address, via }: Peer, reason: string): void {
    this.#refusals.write('warn', address, 'refused', { reason, via });
    // A client that expects TLS could make nothing of it.
    const line = tls?.implicit ? '' : `-ERR [SYS/TEMP] ${reason}, try again later\r\n`;
    if (line !== '') socket.write(line);
    socket.destroy();
  }
}

/** What the sysadmin is told when an address is not to be had. */
export function cannotListen(host: string | undefined, port: number, cause: unknown): UsageError {
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

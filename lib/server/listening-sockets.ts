/**
 * Listening sockets that this process keeps for others and never accepts on.
 *
 * Invariant: not one connection is accepted here. Node.js has no such socket, so each is opened by a server
 * of its own, and taken from it in the same turn of the event loop, before it can look who is there.
 */
import { closeSync } from 'node:fs';
import { type AddressInfo, createServer, type ListenOptions } from 'node:net';
import type { TlsOffer } from './session-services.js';
import { descriptorOf } from './socket.js';
import { cannotListen, type TcpAddress, type TlsOf } from './tcp.js';

export interface ListeningSocket {
  readonly fd: number;
  /** What there is of TLS for those who connect here. */
  readonly tls: TlsOffer | undefined;
}

type Duplicate = (fd: number) => number;

export class ListeningSockets {
  #sockets: ListeningSocket[] = [];

  /** @param duplicate `Host.duplicateDescriptor` */
  constructor(
    private readonly duplicate: Duplicate,
    private readonly backlog: number,
  ) {}

  get all(): readonly ListeningSocket[] {
    return this.#sockets;
  }

  /** The contract is `TcpServer.listen`. */
  async listen(addresses: readonly TcpAddress[]): Promise<AddressInfo[]> {
    const bound: AddressInfo[] = [];
    for (const { host, port, tls } of addresses) {
      try {
        const options = { port, backlog: this.backlog, ...(host !== undefined && { host }) };
        const { fd, address } = await open(this.duplicate, options);
        this.#sockets.push({ fd, tls });
        bound.push(address as AddressInfo);
      } catch (cause) {
        this.close();
        throw cannotListen(host, port, cause);
      }
    }
    return bound;
  }

  /** The contract is `TcpServer.listenOn`. */
  async listenOn(given: number, tlsOf: TlsOf): Promise<number | undefined> {
    // The server that has it for a moment closes what it has.
    const { fd, address } = await open(this.duplicate, { fd: this.duplicate(given), backlog: this.backlog });
    const port = typeof address === 'object' ? address?.port : undefined;
    this.#sockets.push({ fd, tls: tlsOf({ localPort: port }) });
    return port;
  }

  close(): void {
    for (const { fd } of this.#sockets) closeSync(fd);
    this.#sockets = [];
  }
}

async function open(
  duplicate: Duplicate,
  options: ListenOptions & { fd?: number },
): Promise<{ fd: number; address: AddressInfo | string | null }> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      const address = server.address();
      const fd = duplicate(descriptorOf(server) ?? -1);
      server.close(error => (error ? reject(error) : resolve({ fd, address })));
    });
    server.listen(options);
  });
}

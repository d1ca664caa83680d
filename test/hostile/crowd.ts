/** Many connections that stay for as long as the server bears them, from many addresses of 127.0.0.0/8. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { DescriptorBudget } from '../../lib/server/descriptors.js';

/** From each address, less than the default of `--max-connections-per-address`. */
const PER_ADDRESS = 40;
/** Connected at a time: the kernel's queue of connections that nobody has accepted is short. */
const AT_ONCE = 200;

export class Crowd {
  readonly #sockets: Socket[] = [];
  #closed = 0;
  /** What the server said, by connection, latin1. */
  readonly received: string[] = [];

  /**
   * Opens `size` connections. None is ended by us.
   * @param options.reading  false: they never read
   */
  static async open(port: number, size: number, options: { reading?: boolean } = {}): Promise<Crowd> {
    const crowd = new Crowd();
    onTestFinished(() => {
      crowd.leave();
    });
    while (crowd.#sockets.length < size) {
      const next = Math.min(AT_ONCE, size - crowd.#sockets.length);
      await Promise.all(Array.from({ length: next }, () => crowd.#join(port, options.reading !== false)));
    }
    return crowd;
  }

  #join(port: number, reading: boolean): Promise<unknown> {
    const n = this.#sockets.length;
    const house = Math.floor(n / PER_ADDRESS);
    const localAddress = `127.9.${house >> 8}.${house & 255 || 255}`;
    const socket = connect({ port, host: '127.0.0.1', localAddress, noDelay: true });
    this.#sockets.push(socket);
    this.received[n] = '';
    if (reading) {
      socket.setEncoding('latin1').on('data', text => {
        this.received[n] = (this.received[n] ?? '') + text;
      });
    }
    // A reset is an end too.
    socket.on('error', () => {});
    socket.once('close', () => this.#closed++);
    return once(socket, 'connect');
  }

  get size(): number {
    return this.#sockets.length;
  }

  /** How many are not over. */
  get left(): number {
    return this.#sockets.length - this.#closed;
  }

  /** Each that is left sends this. */
  send(octets: (n: number) => string | Buffer): void {
    for (const [n, socket] of this.#sockets.entries()) if (socket.writable) socket.write(octets(n), 'latin1');
  }

  /** All go. */
  leave(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Waits until the server has ended all. @param every called again and again meanwhile, each `ms` */
  async ended(ms: number, every: () => void = () => {}): Promise<void> {
    while (this.left > 0) {
      await new Promise(resolve => setTimeout(resolve, ms));
      every();
    }
  }
}

/**
 * As many connections as this process may have descriptors for, and the server will accept, but not more than are
 * wanted. Both have the limits of this process; the good client has some of them.
 */
export function affordable(wanted: number): number {
  const most = new DescriptorBudget().connections - 20;
  if (most < wanted) process.stdout.write(`only ${most} connections instead of ${wanted}: ulimit -Hn\n`);
  return Math.min(wanted, most);
}

/** A connection below TLS: octets as they are, before or after STLS, and everything the server said. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Target } from './siege.js';

/** `tls`: TLS from the first octet; `stls`: the same after STLS; `plain`: no TLS. */
export type Where = 'tls' | 'stls' | 'plain';

export class Raw {
  #received = '';
  readonly closed: Promise<void>;

  private constructor(readonly socket: Socket) {
    socket.setEncoding('latin1').on('data', text => {
      this.#received += text;
      socket.emit('news');
    });
    // A reset is an end too.
    socket.on('error', () => {});
    this.closed = new Promise(resolve => {
      socket.once('close', () => {
        resolve();
        socket.emit('news');
      });
    });
    onTestFinished(() => {
      socket.destroy();
    });
  }

  /** Connects, and does STLS. What the server has said until then is forgotten. */
  static async to(where: Where, { port, tls }: Target, localAddress?: string): Promise<Raw> {
    const target = { port: where === 'tls' ? tls : port, host: '127.0.0.1', noDelay: true };
    const raw = new Raw(connect({ ...target, ...(localAddress && { localAddress }) }));
    if (where === 'tls') {
      await once(raw.socket, 'connect');
      return raw;
    }
    await raw.until(() => raw.#received.endsWith('\n'));
    raw.#received = '';
    if (where === 'plain') return raw;
    raw.send('STLS\r\n');
    await raw.until(() => raw.#received.endsWith('\n'));
    if (!raw.#received.startsWith('+OK')) throw new Error(`STLS: ${raw.#received}`);
    raw.#received = '';
    return raw;
  }

  /** Latin-1. */
  get received(): string {
    return this.#received;
  }

  send(octets: string | Buffer): void {
    this.socket.write(octets, 'latin1');
  }

  /** Waits for something that was received, or for the end. */
  async until(done: () => boolean): Promise<void> {
    while (!done() && !this.socket.closed) await once(this.socket, 'news');
  }
}

/** A connection under a client's TLS whose records can be held back, and sent in parts. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { onTestFinished } from 'vitest';

export class Tap extends Duplex {
  /** Of records that are held back. */
  #held: Buffer[] | undefined;

  private constructor(private readonly socket: Socket) {
    super();
    socket.on('data', chunk => this.push(chunk));
    socket.on('end', () => this.push(null));
    for (const event of ['close', 'error']) socket.on(event, () => this.destroy());
  }

  /** Connects. Destroyed after the test. */
  static async to(port: number): Promise<Tap> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    onTestFinished(() => {
      socket.destroy();
    });
    await once(socket, 'connect');
    return new Tap(socket);
  }

  /** What TLS makes of what `run` writes, which is not sent. */
  async hold(run: () => void): Promise<Buffer> {
    const held: Buffer[] = [];
    this.#held = held;
    run();
    while (held.length === 0) await new Promise(resolve => setImmediate(resolve));
    this.#held = undefined;
    return Buffer.concat(held);
  }

  /** Sends octets below TLS. */
  send(octets: Buffer): void {
    this.socket.write(octets);
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.#held) this.#held.push(Buffer.from(chunk));
    else this.socket.write(chunk);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.socket.destroy();
    done(error);
  }
}

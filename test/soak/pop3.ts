/** A POP3 client for the soak: pipelines, knows when the connection is over, waits for nothing for ever. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** The connection is over. */
export class Gone extends Error {}

/** Nothing came for `PATIENCE`: whatever the reason, that should not be. */
export class Silence extends Gone {}

/** Longer than a server is stopped for, and than it tries for locks; milliseconds. */
const PATIENCE = 60_000;

export class Pop3 {
  #received: Buffer = Buffer.alloc(0);
  #chunks: Buffer[] = [];
  #over = false;
  #silent = false;

  private constructor(readonly socket: Socket) {
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      socket.emit('news');
    });
    for (const event of ['end', 'close', 'error']) {
      socket.on(event, () => {
        this.#over = true;
        socket.emit('news');
      });
    }
    socket.setTimeout(PATIENCE, () => {
      this.#silent = true;
      socket.destroy();
    });
  }

  /** Connects and reads the greeting. @throws Gone */
  static async connect(port: number): Promise<Pop3> {
    const client = new Pop3(connect(port, '127.0.0.1'));
    try {
      await client.line();
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  send(...lines: string[]): void {
    this.socket.write(lines.map(line => `${line}\r\n`).join(''), 'latin1');
  }

  /** Sends a line and gives the status line that answers it. */
  async ask(line: string): Promise<string> {
    this.send(line);
    return this.line();
  }

  /** The next line, without its CRLF. @throws Gone */
  async line(): Promise<string> {
    const end = await this.#find('\r\n');
    return this.#take(end + 2).toString('latin1', 0, end);
  }

  /** The multi-line reply that comes next, byte-stuffing undone; undefined for `-ERR`. @throws Gone */
  async content(): Promise<string | undefined> {
    const status = await this.line();
    if (!status.startsWith('+OK')) return undefined;
    await this.#until(() => this.#received.length >= 3);
    if (this.#received.toString('latin1', 0, 3) === '.\r\n') {
      this.#take(3);
      return '';
    }
    const end = await this.#find('\r\n.\r\n');
    const text = this.#take(end + 5).toString('latin1', 0, end + 2);
    return text.replace(/^\./gm, '');
  }

  get over(): boolean {
    return this.#over;
  }

  close(): void {
    this.socket.destroy();
  }

  async #find(what: string): Promise<number> {
    let at = -1;
    let from = 0;
    await this.#until(() => {
      at = this.#received.indexOf(what, from, 'latin1');
      from = Math.max(0, this.#received.length - what.length + 1);
      return at >= 0;
    });
    return at;
  }

  async #until(done: () => boolean): Promise<void> {
    this.#join();
    while (!done()) {
      if (this.#over && this.#silent) throw new Silence('the server said nothing for long');
      if (this.#over) throw new Gone('the connection is over');
      await once(this.socket, 'news');
      this.#join();
    }
  }

  #join(): void {
    if (this.#chunks.length === 0) return;
    this.#received = Buffer.concat([this.#received, ...this.#chunks]);
    this.#chunks = [];
  }

  #take(length: number): Buffer {
    const taken = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    return taken;
  }
}

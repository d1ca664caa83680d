/**
 * A POP3 client over a real socket that does what it is told, whatever a decent client would do: it
 * sends any octets, cuts the connection anywhere, reads nothing for as long as it is asked not to.
 * Latin-1 strings, so that a character is an octet.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { onTestFinished } from 'vitest';
import { tlsConnect } from './tls/certificates.js';

const END = Buffer.from('\r\n.\r\n');

/** A multi-line reply taken apart (RFC 1939 §3). */
export interface Multiline {
  readonly status: string;
  /** What stood between the status line and the terminator, byte-stuffing undone. */
  readonly content: Buffer;
}

export class Pop3Client {
  #received: Buffer = Buffer.alloc(0);
  #chunks: Buffer[] = [];
  #ended = false;

  private constructor(readonly socket: Socket) {
    socket.setNoDelay(true);
    for (const event of ['end', 'close', 'error']) {
      socket.on(event, () => {
        this.#ended = true;
        socket.emit('news');
      });
    }
  }

  /**
   * Connects; the connection is destroyed after the test.
   * @param options.reading  false: nothing is read before `read()`
   */
  static async connect(
    port: number,
    options: { host?: string; localAddress?: string; reading?: boolean } = {},
  ): Promise<Pop3Client> {
    const { host = '127.0.0.1', localAddress } = options;
    const socket = connect({ port, host, ...(localAddress !== undefined && { localAddress }) });
    onTestFinished(() => {
      socket.destroy();
    });
    const client = new Pop3Client(socket);
    await once(socket, 'connect');
    if (options.reading !== false) client.read();
    return client;
  }

  /** A client over a socket of the caller's, under TLS for instance. */
  static over(socket: Socket): Pop3Client {
    const client = new Pop3Client(socket);
    client.read();
    return client;
  }

  /** Does STLS (RFC 2595 §4), and goes on under TLS. The certificate may be any. */
  async stls(options: ConnectionOptions = {}): Promise<Pop3Client> {
    await this.ok('STLS');
    this.socket.removeAllListeners();
    return Pop3Client.over(await tlsConnect({ socket: this.socket }, options));
  }

  /** Connects and reads the greeting. */
  static async greeted(port: number, options: { host?: string } = {}): Promise<Pop3Client> {
    const client = await Pop3Client.connect(port, options);
    expectOk(await client.line());
    return client;
  }

  /** Connects, logs in. */
  static async loggedIn(port: number, user: string, password: string): Promise<Pop3Client> {
    const client = await Pop3Client.greeted(port);
    await client.logIn(user, password);
    return client;
  }

  read(): void {
    this.socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.socket.emit('news');
    });
  }

  send(octets: string | Uint8Array): void {
    this.socket.write(typeof octets === 'string' ? Buffer.from(octets, 'latin1') : octets);
  }

  /** Sends a line and gives the status line that answers it. */
  async ask(line: string): Promise<string> {
    this.send(`${line}\r\n`);
    return this.line();
  }

  /** The same; anything but `+OK` is an error. */
  async ok(line: string): Promise<string> {
    return expectOk(await this.ask(line));
  }

  /** @throws Error with the reply that was no `+OK` */
  async logIn(user: string, password: string): Promise<string> {
    await this.ok(`USER ${user}`);
    return this.ok(`PASS ${password}`);
  }

  /** Sends a line and gives the multi-line reply that answers it. */
  async multiline(line: string): Promise<Multiline> {
    this.send(`${line}\r\n`);
    return this.nextMultiline();
  }

  /** The lines of a scan listing or of unique-ids. */
  async listing(line: string): Promise<string[]> {
    const { content } = await this.multiline(line);
    return content
      .toString('latin1')
      .split('\r\n')
      .filter(text => text !== '');
  }

  /** The next line, without its CRLF. */
  async line(): Promise<string> {
    let end = await this.#find(Buffer.from('\n'), 0);
    const line = this.#take(++end);
    if (!line.toString('latin1').endsWith('\r\n')) throw new Error(`a line without CR: ${line}`);
    return line.toString('latin1', 0, line.length - 2);
  }

  /** The multi-line reply that comes next, to a command sent before. */
  async nextMultiline(): Promise<Multiline> {
    const status = expectOk(await this.line());
    // An empty content is the terminator alone.
    await this.#until(() => this.#received.length >= 3);
    if (this.#received.subarray(0, 3).equals(END.subarray(2))) {
      this.#take(3);
      return { status, content: Buffer.alloc(0) };
    }
    const end = await this.#find(END, 0);
    const stuffed = this.#take(end + END.length).subarray(0, end + 2);
    return { status, content: unstuff(stuffed) };
  }

  /** All that came and was not asked for yet, once the server has closed the connection. */
  async rest(): Promise<string> {
    while (!this.#ended) await once(this.socket, 'news');
    this.#join();
    return this.#take(this.#received.length).toString('latin1');
  }

  /** Whether the connection is over. */
  get ended(): boolean {
    return this.#ended;
  }

  /** RST: what a vanished client or a firewall does. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  async #find(what: Buffer, from: number): Promise<number> {
    let at = -1;
    let searched = from;
    await this.#until(() => {
      at = this.#received.indexOf(what, searched);
      searched = Math.max(0, this.#received.length - what.length + 1);
      return at >= 0;
    });
    return at;
  }

  async #until(done: () => boolean): Promise<void> {
    this.#join();
    while (!done()) {
      if (this.#ended) throw new Error(`closed after ${JSON.stringify(this.#received.toString('latin1'))}`);
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

function expectOk(line: string): string {
  if (!/^\+OK(?: |$)/.test(line)) throw new Error(`the server said: ${line}`);
  return line;
}

/** RFC 1939 §3: of each line that begins with a dot, that dot goes. */
function unstuff(content: Buffer): Buffer {
  const pieces: Buffer[] = [];
  let from = 0;
  for (let at = content[0] === 0x2e ? 0 : next(content, 0); at >= 0; at = next(content, at)) {
    pieces.push(content.subarray(from, at));
    from = at + 1;
  }
  return Buffer.concat([...pieces, content.subarray(from)]);
}

function next(content: Buffer, from: number): number {
  const at = content.indexOf('\r\n.', from);
  return at < 0 ? -1 : at + 2;
}

/** One session in memory, driven by hand: send octets, wait for what comes. */
import { once } from 'node:events';
import { onTestFinished, vi } from 'vitest';
import { serve } from '../../lib/server/session.js';
import { duplexPair, type PairEnd } from './duplex-pair.js';
import type { MemoryWorld } from './memory-maildrop.js';

export class MemorySession {
  readonly client: PairEnd;
  readonly server: PairEnd;
  /** Resolves when `serve` does. */
  readonly done: Promise<void>;
  /** All that came so far. */
  received = '';
  private ended = false;
  private readonly stop: AbortController;

  /** @param options.reading  false: the client reads nothing until `read()` */
  constructor(
    world: MemoryWorld,
    options: { address?: string; reading?: boolean; stop?: AbortController } = {},
  ) {
    this.stop = options.stop ?? new AbortController();
    [this.client, this.server] = duplexPair();
    const peer = { address: options.address ?? '192.0.2.1', port: 1 };
    this.done = serve(this.server, peer, world.services, { signal: this.stop.signal });
    for (const event of ['end', 'close']) {
      this.client.on(event, () => {
        this.ended = true;
        this.client.emit('news');
      });
    }
    if (options.reading !== false) this.read();
  }

  read(): void {
    this.client.on('data', (chunk: Buffer) => {
      this.received += chunk.toString('latin1');
      this.client.emit('news');
    });
  }

  send(octets: string | Uint8Array): void {
    this.client.write(typeof octets === 'string' ? Buffer.from(octets, 'latin1') : octets);
  }

  /** Waits until `condition` holds of what came. Fails when the connection ends before. */
  async until(condition: (received: string) => boolean): Promise<void> {
    while (!condition(this.received)) {
      if (this.ended) throw new Error(`ended after ${JSON.stringify(this.received)}`);
      await once(this.client, 'news');
    }
  }

  /** Sends one line and waits for the first line that comes back, which is forgotten. */
  async ask(line: string | Uint8Array): Promise<string> {
    await this.until(received => received.endsWith('\r\n'));
    this.received = '';
    this.send(line);
    if (typeof line === 'string') this.send('\r\n');
    await this.until(received => received.includes('\r\n'));
    return this.received.slice(0, this.received.indexOf('\r\n'));
  }

  async logIn(user = 'mrose', password = 'tanstaaf'): Promise<void> {
    await this.ask(`USER ${user}`);
    const reply = await this.ask(`PASS ${password}`);
    if (!reply.startsWith('+OK')) throw new Error(reply);
  }

  /** What the server does on SIGTERM. */
  shutDown(): void {
    this.stop.abort();
  }

  /** Waits for the end of the connection; gives all that came since the last `ask`. */
  async rest(): Promise<string> {
    while (!this.ended) await once(this.client, 'news');
    return this.received;
  }
}

/** From now on time passes when the test says so (`vi.advanceTimersByTimeAsync`), to the end of the test. */
export function timersByHand(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
}

/** Waits a few turns of the event loop: enough for anything that needs no timer and no I/O. */
export async function turns(n = 20): Promise<void> {
  for (let i = 0; i < n; i++) await new Promise(resolve => setImmediate(resolve));
}

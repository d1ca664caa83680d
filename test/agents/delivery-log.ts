/**
 * The log file of a mail system, read as it grows. A message is known by its Message-ID, which Postfix and Exim log
 * beside their own number of it; who waits for a message is told when the log says what became of it.
 */
import { closeSync, existsSync, openSync, readSync } from 'node:fs';

export interface Fate {
  readonly delivered: boolean;
  /** How often it was tried. */
  readonly tries: number;
  readonly line: string;
}

/** What a line says: that a number is a Message-ID, or what became of a number. */
export type Reading =
  | { readonly number: string; readonly id: string }
  | { readonly number: string; readonly result: 'delivered' | 'deferred' | 'failed' };

interface Waiting {
  tries: number;
  resolve: (fate: Fate) => void;
}

export class DeliveryLog {
  readonly #ids = new Map<string, string>();
  readonly #waiting = new Map<string, Waiting>();
  readonly #timer: NodeJS.Timeout;
  #fd: number | undefined;
  #rest = '';

  constructor(
    private readonly path: string,
    private readonly read: (line: string) => Reading | undefined,
  ) {
    this.#timer = setInterval(() => this.#poll(), 50);
    this.#timer.unref();
  }

  /** To be asked before the message is handed over. */
  fateOf(id: string): Promise<Fate> {
    return new Promise(resolve => {
      this.#waiting.set(id, { tries: 0, resolve });
    });
  }

  close(): void {
    clearInterval(this.#timer);
    if (this.#fd !== undefined) closeSync(this.#fd);
  }

  #poll(): void {
    if (this.#fd === undefined) {
      if (!existsSync(this.path)) return;
      this.#fd = openSync(this.path, 'r');
    }
    const buffer = Buffer.allocUnsafe(65_536);
    for (let count = readSync(this.#fd, buffer); count > 0; count = readSync(this.#fd, buffer)) {
      const lines = (this.#rest + buffer.toString('latin1', 0, count)).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) this.#take(line);
    }
  }

  #take(line: string): void {
    const reading = this.read(line);
    if (reading === undefined) return;
    if ('id' in reading) {
      this.#ids.set(reading.number, reading.id);
      return;
    }
    const id = this.#ids.get(reading.number) ?? '';
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    waiting.tries++;
    if (reading.result === 'deferred') return;
    this.#ids.delete(reading.number);
    this.#waiting.delete(id);
    waiting.resolve({ delivered: reading.result === 'delivered', tries: waiting.tries, line });
  }
}

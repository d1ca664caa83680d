/**
 * The server's end of pam-keep.ts: started while we are root, asked when we are not any more.
 *
 * Invariant: an answer is for the question whose number it repeats; once the other end is gone, or says
 * what is no answer, every question is answered by an error, for it cannot be started again without root.
 */
import { once } from 'node:events';
import {
  decodeAnswer,
  encodeQuestion,
  FrameReader,
  numberOf,
  type PamAnswer,
  type PamQuestion,
} from './pam-frames.js';
import { type Helper, startHelper } from './pam-process.js';

export interface PamKeeperOptions {
  readonly service: string;
  readonly minimumUid: number;
  readonly atOnce: number;
  /** Milliseconds. */
  readonly timeout: number;
}

interface Waiting {
  resolve(answer: PamAnswer): void;
  reject(error: Error): void;
}

export class PamKeeper {
  readonly #process: Helper;
  readonly #reader = new FrameReader();
  readonly #waiting = new Map<number, Waiting>();
  readonly #gone: Promise<void>;
  #number = 0;
  #lost: string | undefined;
  #closing = false;

  /** @param onLost is told why there will be no more answers, for the log */
  constructor(
    { service, minimumUid, atOnce, timeout }: PamKeeperOptions,
    private readonly onLost: (reason: string) => void,
  ) {
    const args = [service, minimumUid, atOnce, timeout].map(String);
    this.#process = startHelper('pam-keep.js', args);
    const { stdin, stdout } = this.#process;
    stdin.on('error', () => {});
    stdout.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.#gone = once(this.#process, 'exit').then(
      ([code, signal]) => this.#lose(`root's process for PAM ended: ${signal ?? `exit code ${code}`}`),
      (error: Error) => this.#lose(`root's process for PAM: ${error.message}`),
    );
    // It never keeps us; connections do.
    for (const handle of [this.#process, stdin, stdout])
      if ('unref' in handle) (handle.unref as () => void)();
  }

  /** @throws Error when there is no answer, or `signal` is aborted before */
  ask(question: PamQuestion, signal: AbortSignal): Promise<PamAnswer> {
    if (this.#lost !== undefined) return Promise.reject(new Error(this.#lost));
    const number = this.#number;
    this.#number = (number + 1) % 0x1_0000_0000;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      signal.addEventListener('abort', () => this.#take(number)?.reject(new Error('no answer in time')), {
        once: true,
      });
      const frame = encodeQuestion(number, question);
      this.#process.stdin.write(frame, () => frame.fill(0));
    });
  }

  /** Resolves when the other end is gone. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#process.ref();
    this.#process.stdin.end();
    await this.#gone;
  }

  #take(number: number): Waiting | undefined {
    const waiting = this.#waiting.get(number);
    this.#waiting.delete(number);
    return waiting;
  }

  #receive(chunk: Buffer): void {
    try {
      this.#reader.read(chunk, frame => {
        const answer = decodeAnswer(frame);
        this.#take(numberOf(frame))?.resolve(answer);
      });
    } catch (error) {
      this.#lose(error instanceof Error ? error.message : String(error));
      this.#process.stdin.destroy();
    }
  }

  #lose(reason: string): void {
    if (this.#lost !== undefined) return;
    this.#lost = reason;
    if (!this.#closing) this.onLost(reason);
    for (const waiting of this.#waiting.values()) waiting.reject(new Error(reason));
    this.#waiting.clear();
  }
}

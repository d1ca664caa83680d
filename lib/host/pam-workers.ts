/**
 * Processes that ask PAM, started when needed, by root. One question each at a time; how many there are is
 * for the caller to bound. One that hangs is killed, one that crashes or babbles is done with, and neither
 * touches any other.
 *
 * Invariant: `ask` ends when its process has answered or is gone, so that a caller that gives up root
 * afterwards leaves none behind, unless told to keep it.
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
import { killWithDescendants } from './processes.js';

/** Modules leak: after so many questions a process is replaced. */
const MAX_QUESTIONS = 100;

export interface PamWorkersOptions {
  readonly service: string;
  /** The lowest uid of passwd(5) that may be asked about. */
  readonly minimumUid: number;
  /** Milliseconds a process is kept for the next question; 0: ended at once, and waited for. */
  readonly keep: number;
}

export class PamWorkers {
  readonly #all = new Set<Worker>();
  readonly #idle: Worker[] = [];

  constructor(private readonly options: PamWorkersOptions) {}

  /**
   * @param signal kills the process that works on it
   * @throws Error when there is no answer
   */
  async ask(question: PamQuestion, signal: AbortSignal): Promise<PamAnswer> {
    const { keep } = this.options;
    const worker = this.#idle.pop() ?? this.#start();
    const kill = () => worker.kill();
    signal.addEventListener('abort', kill, { once: true });
    if (signal.aborted) kill();
    try {
      const answer = await worker.ask(question);
      if (keep > 0 && worker.asked < MAX_QUESTIONS && !signal.aborted) this.#keep(worker, keep);
      else await worker.end();
      return answer;
    } catch (error) {
      await worker.end();
      throw error;
    } finally {
      signal.removeEventListener('abort', kill);
    }
  }

  /** Ends all of them, at work or not. */
  async close(): Promise<void> {
    await Promise.all([...this.#all].map(worker => worker.end()));
  }

  #start(): Worker {
    const { service, minimumUid } = this.options;
    const worker = new Worker(service, minimumUid);
    this.#all.add(worker);
    void worker.gone.then(() => this.#all.delete(worker));
    return worker;
  }

  #keep(worker: Worker, milliseconds: number): void {
    this.#idle.push(worker);
    worker.rest(milliseconds, () => {
      const place = this.#idle.indexOf(worker);
      if (place !== -1) this.#idle.splice(place, 1);
    });
  }
}

class Worker {
  readonly #process: Helper;
  /** Never rejects. */
  readonly gone: Promise<void>;
  readonly #reader = new FrameReader();
  #waiting: { resolve: (answer: PamAnswer) => void; reject: (error: Error) => void } | undefined;
  #ended: string | undefined;
  #onGone: () => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  asked = 0;

  constructor(service: string, minimumUid: number) {
    this.#process = startHelper('pam-worker.js', [service, String(minimumUid), String(process.pid)]);
    const { stdin, stdout } = this.#process;
    stdin.on('error', () => {});
    stdout.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.gone = once(this.#process, 'exit').then(
      ([code, signal]) => this.#over(`process for PAM ended: ${signal ?? `exit code ${code}`}`),
      (error: Error) => this.#over(`process for PAM: ${error.message}`),
    );
  }

  ask(question: PamQuestion): Promise<PamAnswer> {
    clearTimeout(this.#timer);
    this.asked++;
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(new Error(this.#ended));
      this.#waiting = { resolve, reject };
      const frame = encodeQuestion(this.asked, question);
      this.#process.stdin.write(frame, () => frame.fill(0));
    });
  }

  /** Waits for the next question for so long. */
  rest(milliseconds: number, onGone: () => void): void {
    this.#onGone = onGone;
    this.#timer = setTimeout(() => {
      // From now on it is not given another question, although it takes a moment to be gone.
      onGone();
      void this.end();
    }, milliseconds);
    this.#timer.unref();
    if (this.#ended !== undefined) onGone();
  }

  kill(): void {
    const { pid, exitCode, signalCode } = this.#process;
    if (pid !== undefined && exitCode === null && signalCode === null) killWithDescendants(pid);
  }

  async end(): Promise<void> {
    this.kill();
    await this.gone;
  }

  #receive(chunk: Buffer): void {
    try {
      this.#reader.read(chunk, frame => {
        const waiting = this.#waiting;
        if (waiting === undefined || numberOf(frame) !== this.asked)
          throw new Error('an answer to no question');
        const answer = decodeAnswer(frame);
        this.#waiting = undefined;
        waiting.resolve(answer);
      });
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
      this.kill();
    }
  }

  #over(reason: string): void {
    this.#ended = reason;
    clearTimeout(this.#timer);
    this.#onGone();
    this.#fail(new Error(reason));
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}

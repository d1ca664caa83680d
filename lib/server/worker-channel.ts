/**
 * The pipe between a worker and its supervisor: calls, each with one answer, in any order, and messages that
 * nobody answers. What is said in one turn of the event loop leaves in one write.
 *
 * Invariants: once the pipe is gone every call is answered by an error; octets of a call are wiped when it has
 * been answered, for they may be a password; nothing that the other end says is an error of ours, and while it does
 * not read its answers it is not listened to.
 */
import type { Duplex } from 'node:stream';
import { type ResponseCode, Unavailable } from '../errors.js';
import type { MaybeLater } from './limits.js';
import { BadMessage, countOf, encodeMessage, type Head, MessageReader, textOf } from './worker-frames.js';

export interface Answer {
  readonly head: Head;
  readonly octets?: Uint8Array;
}

/** What the other end may want. Both throw BadMessage for what makes no sense. */
export interface ChannelHandlers {
  /** What it throws is the answer, too. */
  answer(name: string, head: Head, octets: Buffer): MaybeLater<Answer>;
  hear(name: string, head: Head, octets: Buffer): void;
  /**
   * Called once: the other end is gone.
   * @param nonsense it said what makes no sense, and nobody knows what it is
   */
  closed(reason: string, nonsense: boolean): void;
}

interface Waiting {
  resolve(answer: { head: Head; octets: Buffer }): void;
  reject(error: Error): void;
}

export class Channel {
  readonly #waiting = new Map<number, Waiting>();
  readonly #reader: MessageReader;
  #number = 0;
  #lost: string | undefined;
  #corked = false;

  /** @param most octets of a message from the other end */
  constructor(
    private readonly stream: Duplex,
    private readonly handlers: ChannelHandlers,
    most: number,
  ) {
    this.#reader = new MessageReader(most);
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('error', error => this.#lose(error.message));
    stream.on('close', () => this.#lose('the pipe was closed'));
    // The other end says nothing more, and so cannot answer.
    stream.on('end', () => this.close('the other end is gone'));
  }

  /** @throws Unavailable when the other end says so, or is gone; Error for what is a bug there */
  call(name: string, head: Head = {}, octets?: Uint8Array): Promise<{ head: Head; octets: Buffer }> {
    if (this.#lost !== undefined) return Promise.reject(gone(this.#lost));
    const number = this.#number++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.#send({ ...head, call: name, number }, octets);
    });
  }

  tell(name: string, head: Head = {}, octets?: Uint8Array): void {
    if (this.#lost === undefined) this.#send({ ...head, tell: name }, octets);
  }

  close(reason: string): void {
    this.#lose(reason);
    this.stream.destroy();
  }

  #send(head: Head, octets: Uint8Array | undefined): void {
    if (!this.#corked) {
      this.#corked = true;
      this.stream.cork();
      setImmediate(() => {
        this.#corked = false;
        this.stream.uncork();
      });
    }
    const frame = encodeMessage(head, octets);
    this.stream.write(frame, octets && (() => frame.fill(0)));
  }

  #receive(chunk: Buffer): void {
    if (this.#lost !== undefined) return;
    try {
      this.#reader.read(chunk, ({ head, octets }) => {
        // What came before it in the same chunk made no sense.
        if (this.#lost !== undefined) return;
        if (head.call !== undefined)
          void this.#answer(textOf(head, 'call'), countOf(head, 'number'), head, octets);
        else if (head.tell !== undefined) this.handlers.hear(textOf(head, 'tell'), head, octets);
        else this.#settle(head, octets);
      });
    } catch (error) {
      if (!(error instanceof BadMessage)) throw error;
      this.#distrust(error);
    }
  }

  #settle(head: Head, octets: Buffer): void {
    const number = countOf(head, 'number');
    const waiting = this.#waiting.get(number);
    if (waiting === undefined) throw new BadMessage('an answer to no question');
    this.#waiting.delete(number);
    if (head.error === undefined) waiting.resolve({ head, octets });
    else waiting.reject(readError(head.error as Head));
  }

  async #answer(name: string, number: number, head: Head, octets: Buffer): Promise<void> {
    try {
      const asked = this.handlers.answer(name, head, octets);
      const answer = asked instanceof Promise ? await asked : asked;
      if (this.#lost === undefined) this.#send({ ...answer.head, number }, answer.octets);
    } catch (error) {
      if (error instanceof BadMessage) this.#distrust(error);
      else if (this.#lost === undefined) this.#send({ error: writeError(error), number }, undefined);
    } finally {
      octets.fill(0);
      this.#listenLess();
    }
  }

  /** Answers that nobody reads would be kept here without end. */
  #listenLess(): void {
    const { stream } = this;
    if (!stream.writableNeedDrain || stream.isPaused()) return;
    stream.pause();
    stream.once('drain', () => stream.resume());
  }

  #distrust(error: BadMessage): void {
    this.#lose(`it made no sense: ${error.message}`, true);
    this.stream.destroy();
  }

  #lose(reason: string, nonsense = false): void {
    if (this.#lost !== undefined) return;
    this.#lost = reason;
    for (const { reject } of this.#waiting.values()) reject(gone(reason));
    this.#waiting.clear();
    this.handlers.closed(reason, nonsense);
  }
}

function gone(reason: string): Unavailable {
  return new Unavailable('SYS/TEMP', 'the server is being stopped', {
    cause: new Error(reason),
    fatal: true,
  });
}

/** An error as it can be sent. */
function writeError(error: unknown): Head {
  if (!(error instanceof Unavailable)) return { message: String(error) };
  const { code, message, fatal, cause } = error;
  return { code, message, fatal, cause: cause instanceof Error ? cause.message : cause };
}

/** The error that was sent. */
function readError(error: Head): Error {
  const message = textOf(error, 'message');
  if (error.code === undefined) return new Error(message);
  const code = textOf(error, 'code') as Exclude<ResponseCode, 'AUTH'>;
  const cause = error.cause === undefined ? undefined : new Error(String(error.cause));
  return new Unavailable(code, message, { fatal: error.fatal === true, cause });
}

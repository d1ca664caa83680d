/**
 * A message that is coming in, held until it is whole. Whoever sends it may be slow, or never finish, and
 * while a mailbox is locked nobody else can deliver to it: so first all of the message comes here, and the
 * mailbox is locked after that. A short one stays in memory, a longer one goes into a file that has no name.
 * It is held as it will stand in the mailbox file.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { join } from 'node:path';
import { fromLine } from '../mbox/from-line.js';
import { MessageEncoder, QUOTINGS, type Quoting } from '../mbox/quoting.js';
import type { Message } from './append.js';
import { readFully, type SpoolIo, writeFully } from './io.js';

/** Octets kept in memory; also how many are read of the file at a time. */
const IN_MEMORY = 256 * 1024;

export { QUOTINGS, type Quoting };

export interface HoldOptions {
  readonly io: SpoolIo;
  /** Where a long message goes. */
  readonly directory: string;
  readonly quoting: Quoting;
}

export class HeldMessage {
  /** As the From_ line that came with the message has it; undefined when there was none. */
  envelopeSender: string | undefined;
  /** Octets so far. */
  size = 0;
  /** What is not in the file. */
  readonly #buffer = Buffer.allocUnsafe(IN_MEMORY);
  #filled = 0;
  #fd: number | undefined;

  private constructor(private readonly options: HoldOptions) {}

  /**
   * Takes a message to its end.
   * @throws the error of the stream, or of the system call when the directory does not take it
   */
  static async receive(stream: AsyncIterable<Uint8Array>, options: HoldOptions): Promise<HeldMessage> {
    const held = new HeldMessage(options);
    const encoder = new MessageEncoder(options.quoting);
    for await (const chunk of stream) {
      for (const piece of encoder.push(chunk)) await held.#add(piece);
    }
    for (const piece of encoder.end()) await held.#add(piece);
    held.envelopeSender = encoder.envelopeSender;
    return held;
  }

  /** What is to be appended, once. The From_ line has the time at which it is asked for. */
  messageFrom(sender: string): Message {
    return { fromLine: () => Buffer.from(fromLine(sender, new Date())), pieces: () => this.#pieces() };
  }

  async #add(octets: Uint8Array): Promise<void> {
    for (let at = 0; at < octets.length; ) {
      if (this.#filled === IN_MEMORY) await this.#toFile();
      const part = octets.subarray(at, at + IN_MEMORY - this.#filled);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      this.size += part.length;
      at += part.length;
    }
  }

  /** All of it, in pieces of a bounded size that are good until the next is asked for. */
  async *#pieces(): AsyncGenerator<Uint8Array> {
    if (this.#fd === undefined) {
      yield this.#buffer.subarray(0, this.#filled);
      return;
    }
    await this.#toFile();
    for (let at = 0; at < this.size; ) {
      const count = await readFully(this.options.io, this.#fd, this.#buffer, at);
      if (count === 0) throw new Error('the message held was cut short');
      yield this.#buffer.subarray(0, count);
      at += count;
    }
  }

  /** Forgets it. */
  async close(): Promise<void> {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) await this.options.io.close(fd);
  }

  async #toFile(): Promise<void> {
    this.#fd ??= await this.#create();
    await writeFully(
      this.options.io,
      this.#fd,
      this.#buffer.subarray(0, this.#filled),
      this.size - this.#filled,
    );
    this.#filled = 0;
  }

  async #create(): Promise<number> {
    const path = join(this.options.directory, `mbox-pop3d-${randomBytes(9).toString('hex')}`);
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const fd = await this.options.io.open(path, flags, 0o600);
    try {
      await this.options.io.unlink(path);
    } catch (error) {
      await this.options.io.close(fd);
      throw error;
    }
    return fd;
  }
}

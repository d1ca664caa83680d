/**
 * What a worker and its supervisor say to each other over a pipe: messages, each with its lengths in front. A
 * message has a head, which is JSON, and octets, for what is no text, such as passwords.
 *
 * Invariants: whoever parses what the network sends may have been taken over by somebody, so nothing is a
 * message that is longer than the limit, or whose head is no object; of octets that came in pieces no other copy
 * stays, so that whoever wipes those of a message has wiped them all.
 */

/** Two lengths, 4 octets each, most significant first: of head and octets together, and of the head. */
const LENGTHS = 8;

export type Head = Readonly<Record<string, unknown>>;

export interface Message {
  readonly head: Head;
  /** Part of what was received: to be wiped when it held a secret. */
  readonly octets: Buffer;
}

/** Octets that are no message: whoever sent them is not to be listened to any more. */
export class BadMessage extends Error {
  override readonly name = 'BadMessage';
}

export function encodeMessage(head: Head, octets: Uint8Array = new Uint8Array()): Buffer {
  const text = Buffer.from(JSON.stringify(head));
  const frame = Buffer.allocUnsafe(LENGTHS + text.length + octets.length);
  frame.writeUInt32BE(text.length + octets.length, 0);
  frame.writeUInt32BE(text.length, 4);
  frame.set(text, LENGTHS);
  frame.set(octets, LENGTHS + text.length);
  return frame;
}

/** Cuts a stream of octets into messages. */
export class MessageReader {
  #kept: Buffer = Buffer.alloc(0);

  /** @param most octets of a message */
  constructor(private readonly most: number) {}

  /**
   * @param chunk  the reader's from now on
   * @param handle is given each whole message, in turn
   * @throws BadMessage, and what `handle` throws
   */
  read(chunk: Buffer, handle: (message: Message) => void): void {
    let left = chunk;
    if (this.#kept.length > 0) {
      left = Buffer.concat([this.#kept, chunk]);
      this.#kept.fill(0);
      chunk.fill(0);
    }
    for (;;) {
      const length = left.length < LENGTHS ? 0 : left.readUInt32BE(0);
      if (length > this.most) throw new BadMessage('too long');
      if (left.length < LENGTHS + length || left.length < LENGTHS) break;
      handle(parse(left.subarray(LENGTHS, LENGTHS + length), left.readUInt32BE(4)));
      left = left.subarray(LENGTHS + length);
    }
    // A copy, lest a few octets keep all that was read with them.
    this.#kept = Buffer.from(left);
    left.fill(0);
  }
}

function parse(body: Buffer, headLength: number): Message {
  if (headLength > body.length) throw new BadMessage('a head longer than the message');
  let head: unknown;
  try {
    head = JSON.parse(body.toString('utf8', 0, headLength));
  } catch {
    throw new BadMessage('the head is not JSON');
  }
  if (typeof head !== 'object' || head === null || Array.isArray(head)) throw new BadMessage('no head');
  return { head: head as Head, octets: body.subarray(headLength) };
}

/** A text of the head. @throws BadMessage */
export function textOf(head: Head, key: string): string {
  const value = head[key];
  if (typeof value !== 'string') throw new BadMessage(`${key} is no text`);
  return value;
}

/** A count of the head. @throws BadMessage */
export function countOf(head: Head, key: string): number {
  const value = head[key];
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new BadMessage(`${key} is no count`);
  return value as number;
}

/** Both ends of a `MessageReader`, for tests: one made of pieces, and one read to its end. RFC 1939 §3 (byte-stuffing). */
import type { MessageReader } from '../../lib/pop3/ports.js';

/** Gives these pieces byte-stuffed, each in one read or, where the room is too small, in several. */
export class PieceReader implements MessageReader {
  octets = 0;
  private atLineStart = true;
  private readonly pieces: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  private rest: Uint8Array = new Uint8Array(0);

  constructor(pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
    this.pieces = Symbol.asyncIterator in pieces ? pieces[Symbol.asyncIterator]() : pieces[Symbol.iterator]();
  }

  async read(into: Buffer): Promise<number> {
    while (this.rest.length === 0) {
      const next = await this.pieces.next();
      if (next.done) return 0;
      this.rest = next.value;
    }
    const given = this.rest.subarray(0, Math.floor(into.length / 2));
    this.rest = this.rest.subarray(given.length);
    this.octets += given.length;
    let count = 0;
    for (const octet of given) {
      if (this.atLineStart && octet === 0x2e) into[count++] = 0x2e;
      into[count++] = octet;
      this.atLineStart = octet === 0x0a;
    }
    return count;
  }
}

/** A way to retrieve messages that are all what `pieces` gives. */
export function readerOf(pieces: () => AsyncIterable<Uint8Array>): () => MessageReader {
  return () => new PieceReader(pieces());
}

/** What a reader gives, byte-stuffed, into memory that is used again and again; each chunk is a copy. */
export async function* chunksOf(reader: MessageReader, room = 64 * 1024): AsyncGenerator<Buffer> {
  const into = Buffer.alloc(room);
  for (;;) {
    into.fill('#');
    const count = await reader.read(into);
    if (count === 0) return;
    yield Buffer.from(into.subarray(0, count));
  }
}

/** All octets of a message, without byte-stuffing, as one latin1 string. */
export async function collect(reader: MessageReader): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of chunksOf(reader)) chunks.push(chunk);
  const text = Buffer.concat(chunks)
    .toString('latin1')
    .replace(/(^|\n)\./g, '$1');
  if (text.length !== reader.octets) throw new Error(`${text.length} octets, said to be ${reader.octets}`);
  return text;
}

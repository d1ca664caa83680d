/**
 * Two streams, each the other end of the other: a connection without a network. Unlike a socket it
 * buffers nothing of its own: a write is accepted when the other end asks for more, so that "nobody
 * reads" is felt at once. `reset()` is what RST does to the other end.
 */
import { Duplex } from 'node:stream';

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

export class PairEnd extends Duplex {
  other!: PairEnd;
  /** The other end's write, waiting until we read on. */
  private waiting: ((error?: Error | null) => void) | undefined;

  override _read(): void {
    const accept = this.waiting;
    this.waiting = undefined;
    accept?.();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.other.destroyed || this.other.readableEnded) {
      done(failure('EPIPE'));
      return;
    }
    // A copy, as a socket makes one: what the writer does with its memory afterwards is its own business.
    const more = this.other.push(Buffer.from(chunk));
    if (more) done();
    else this.other.waiting = done;
  }

  override _final(done: () => void): void {
    if (!this.other.destroyed) this.other.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const refuse = this.waiting;
    this.waiting = undefined;
    refuse?.(failure('EPIPE'));
    if (!this.other.destroyed && !this.writableFinished) this.other.push(null);
    done(error);
  }

  /** The connection is lost: the other end sees ECONNRESET. */
  reset(): void {
    this.other.destroy(failure('ECONNRESET'));
    this.destroy();
  }
}

/** @param highWaterMark octets each end buffers before the other's writes wait */
export function duplexPair(highWaterMark = 16 * 1024): [client: PairEnd, server: PairEnd] {
  // As most clients do, this one closes its side when the server has closed its own.
  const client = new PairEnd({ highWaterMark, allowHalfOpen: false });
  const server = new PairEnd({ highWaterMark, allowHalfOpen: true });
  client.other = server;
  server.other = client;
  client.on('error', () => {});
  return [client, server];
}

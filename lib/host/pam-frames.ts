/**
 * What is said between the server and the processes that call PAM: questions and answers, each with its
 * length in front. Both ends may be attacked by the other, so each reads the other's octets strictly.
 *
 * A frame is a length (2 octets, most significant first, without itself), a number (4) that the answer
 * repeats, and fields: of a question, three strings; of an answer, a verdict (1) and two strings. A string
 * is its length (2) and its octets.
 *
 * Invariant: nothing is a frame that has a field too long, an octet too many, or a name that no user of this
 * server can have. Octets that held a password are wiped when they were read.
 */

export interface PamQuestion {
  readonly user: string;
  readonly password: Uint8Array;
  /** Numeric address of the client, for PAM_RHOST. */
  readonly address: string;
}

export type PamVerdict = 'right' | 'refused' | 'failed';

export interface PamAnswer {
  readonly verdict: PamVerdict;
  /** The user's name as PAM has it in the end, if `right`. */
  readonly user: string;
  /** For the log; empty if `right`. */
  readonly reason: string;
}

const VERDICTS: readonly PamVerdict[] = ['right', 'refused', 'failed'];

/** PAM_MAX_RESP_SIZE is 512 with the NUL. */
const MAX_PASSWORD = 511;
const MAX_ADDRESS = 64;
const MAX_REASON = 200;
/** No wider than the names that the rest of the server lets through. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._@+-]{0,63}$/;

const HEADER = 6;
export const MAX_FRAME = HEADER + 2 * 3 + 64 + MAX_PASSWORD + MAX_ADDRESS;

/** Thrown for octets that are no frame: whoever sent them is not to be listened to any more. */
export class BadFrame extends Error {
  override readonly name = 'BadFrame';
}

/** To be wiped by the caller once it is sent. */
export function encodeQuestion(number: number, { user, password, address }: PamQuestion): Buffer {
  return encode(number, Buffer.alloc(0), [Buffer.from(user, 'latin1'), password, Buffer.from(address)]);
}

export function encodeAnswer(number: number, { verdict, user, reason }: PamAnswer): Buffer {
  const printable = reason.replace(/[^ -~]/g, '?').slice(0, MAX_REASON);
  const fields = [Buffer.from(user, 'latin1'), Buffer.from(printable, 'latin1')];
  return encode(number, Buffer.from([VERDICTS.indexOf(verdict)]), fields);
}

function encode(number: number, head: Uint8Array, strings: readonly Uint8Array[]): Buffer {
  const length = strings.reduce((sum, string) => sum + 2 + string.length, HEADER + head.length);
  const frame = Buffer.alloc(length);
  frame.writeUInt16BE(length - 2, 0);
  frame.writeUInt32BE(number, 2);
  frame.set(head, HEADER);
  let at = HEADER + head.length;
  for (const string of strings) {
    at = frame.writeUInt16BE(string.length, at);
    frame.set(string, at);
    at += string.length;
  }
  return frame;
}

/** @throws BadFrame. The password is a copy, to be wiped by the caller. */
export function decodeQuestion(frame: Buffer): PamQuestion {
  const [user, password, address] = strings(frame, HEADER, [64, MAX_PASSWORD, MAX_ADDRESS]);
  const name = user!.toString('latin1');
  const from = address!.toString('latin1');
  if (!NAME.test(name)) throw new BadFrame('no user name');
  if (password!.length === 0 || password!.includes(0)) throw new BadFrame('no password');
  if (!/^[0-9A-Za-z.:%-]+$/.test(from)) throw new BadFrame('no address');
  return { user: name, password: Buffer.from(password!), address: from };
}

/** @throws BadFrame */
export function decodeAnswer(frame: Buffer): PamAnswer {
  const verdict = VERDICTS[frame[HEADER] ?? VERDICTS.length];
  if (verdict === undefined) throw new BadFrame('no verdict');
  const [user, reason] = strings(frame, HEADER + 1, [64, MAX_REASON]).map(field => field.toString('latin1'));
  if (verdict === 'right' && !NAME.test(user!)) throw new BadFrame('no user name');
  if (!/^[ -~]*$/.test(reason!)) throw new BadFrame('no reason');
  return { verdict, user: user!, reason: reason! };
}

export function numberOf(frame: Buffer): number {
  if (frame.length < HEADER) throw new BadFrame('too short');
  return frame.readUInt32BE(2);
}

function strings(frame: Buffer, start: number, limits: readonly number[]): Buffer[] {
  let at = start;
  const found = limits.map(limit => {
    if (at + 2 > frame.length) throw new BadFrame('too short');
    const length = frame.readUInt16BE(at);
    const end = at + 2 + length;
    if (length > limit || end > frame.length) throw new BadFrame('a field too long');
    const field = frame.subarray(at + 2, end);
    at = end;
    return field;
  });
  if (at !== frame.length) throw new BadFrame('too long');
  return found;
}

/** Cuts a stream of octets into frames. What it was given is wiped. */
export class FrameReader {
  readonly #kept = Buffer.alloc(MAX_FRAME);
  #length = 0;

  /** @param handle is given each whole frame, which is wiped afterwards. @throws BadFrame, and what it throws */
  read(chunk: Buffer, handle: (frame: Buffer) => void): void {
    try {
      for (let at = 0; at < chunk.length; ) {
        const wanted = this.#length < 2 ? 2 : 2 + this.#kept.readUInt16BE(0);
        if (wanted > MAX_FRAME) throw new BadFrame('too long');
        const taken = chunk.copy(this.#kept, this.#length, at, at + wanted - this.#length);
        at += taken;
        this.#length += taken;
        if (this.#length === wanted && wanted > 2) this.#deliver(handle);
        else if (this.#length === 2 && this.#kept.readUInt16BE(0) < HEADER - 2)
          throw new BadFrame('too short');
      }
    } finally {
      chunk.fill(0);
    }
  }

  #deliver(handle: (frame: Buffer) => void): void {
    const frame = this.#kept.subarray(0, this.#length);
    this.#length = 0;
    try {
      handle(frame);
    } finally {
      frame.fill(0);
    }
  }
}

/**
 * What other programs may see in a mailbox file that we do not: From_ lines that follow no empty line. Our
 * rule asks for the empty line, so that nobody can forge a boundary by a line of text; mutt, Dovecot and
 * c-client (alpine, UW) do not ask, and begin a message there (`strict` against their rules).
 *
 * Memory is bounded: of a line, no more than the length of a From_ line is kept.
 */
import { asBuffer, CR, LF } from './bytes.js';
import { isFromLine, MAX_FROM_LINE } from './from-line.js';

export interface Audit {
  /** From_ lines that begin no message of ours. */
  readonly disputed: number;
  /** Where the first of them is, octets from the start. */
  readonly firstDisputed: number | undefined;
  /** Whether the last line has an end: to one that has none, the next delivery would be glued. */
  readonly endsWithLine: boolean;
}

export class BoundaryAudit {
  /** The start of the line at hand. */
  readonly #line = Buffer.alloc(MAX_FROM_LINE + 2);
  #held = 0;
  /** Octets of the line at hand, and of all before it. */
  #length = 0;
  #offset = 0;
  #afterEmpty = true;
  #disputed = 0;
  #first: number | undefined;

  /** Takes the next octets, in any cutting. */
  push(bytes: Uint8Array): void {
    const chunk = asBuffer(bytes);
    for (let at = 0; at < chunk.length; ) {
      const lf = chunk.indexOf(LF, at);
      const end = lf < 0 ? chunk.length : lf + 1;
      this.#held += chunk.copy(this.#line, this.#held, at, end);
      this.#length += end - at;
      if (lf >= 0) this.#endLine();
      at = end;
    }
  }

  /** The octets pushed are the whole file. */
  end(): Audit {
    const endsWithLine = this.#length === 0;
    if (!endsWithLine) this.#endLine();
    return { disputed: this.#disputed, firstDisputed: this.#first, endsWithLine };
  }

  #endLine(): void {
    const end = this.#line[this.#held - 1] === LF ? this.#held - 1 : this.#held;
    const whole = this.#held === this.#length;
    if (!this.#afterEmpty && whole && isFromLine(this.#line, 0, end)) {
      this.#disputed++;
      this.#first ??= this.#offset;
    }
    this.#afterEmpty = whole && (end === 0 || (end === 1 && this.#line[0] === CR));
    this.#offset += this.#length;
    this.#length = 0;
    this.#held = 0;
  }
}

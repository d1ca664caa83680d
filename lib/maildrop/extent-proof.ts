/**
 * Proves, by the mailbox file alone, that a message of an index nobody made in this session is one message and
 * that message: it begins where a message may begin, is read again from there to the From_ line of the next,
 * and is found to be what its row says. A boundary depends on nothing farther away than the line before it.
 * With that, cutting it out cuts nothing else, whatever the other rows may be.
 */
import { type Extent, MailboxIndex, SMALL } from '../mbox/mailbox-index.js';
import { NotMbox, Scanner } from '../mbox/scanner.js';
import { identityOf } from './identities.js';
import { mayBegin } from './index-cache.js';
import type { MailboxFile } from './mailbox-file.js';

export class ExtentProof {
  readonly #scanner = new Scanner();
  #refuted = false;

  constructor(
    private readonly file: MailboxFile,
    private readonly index: MailboxIndex,
    private readonly n: number,
  ) {}

  /** Takes the next octets of [start, end) of the message. */
  push(octets: Uint8Array): void {
    if (this.#refuted) return;
    try {
      this.#scanner.push(octets);
    } catch (error) {
      if (!(error instanceof NotMbox)) throw error;
      this.#refuted = true;
    }
  }

  /**
   * Whether it is proved. All of the message was pushed.
   * @param identity what its unique-id was made of, if a client may have been told
   */
  async holds(identity: string | undefined): Promise<boolean> {
    const { file, index, n } = this;
    const row = index.extent(n);
    if (!(await mayBegin(file, row.start))) return false;
    const next = n < index.messages ? index.extent(n + 1) : undefined;
    // The line after it decides where it ends; behind the last there is nothing.
    const after = await file.read(row.end, next?.header ?? row.end + 1);
    this.push(after);
    if (this.#refuted || (next === undefined && after.length > 0)) return false;
    const found = this.#scanner.end();
    if (found.small.length / SMALL !== (next === undefined ? 1 : 2)) return false;
    // Only the first message of a file can be a FOLDER INTERNAL DATA message, which nobody may delete.
    if (n === 1 && index.hidden === 0 && found.hidden === 1) return false;
    const is = new MailboxIndex(found.offsets, found.small, found.size, 0).extent(1);
    if (!isSame(is, row)) return false;
    return identity === undefined || (await identityOf(file, index, n)) === identity;
  }
}

/** @param is the extent, with offsets from its own start */
function isSame(is: Extent, row: Extent): boolean {
  const at = row.start;
  return (
    is.start === 0 &&
    is.header + at === row.header &&
    is.body + at === row.body &&
    is.contentEnd + at === row.contentEnd &&
    is.end + at === row.end &&
    is.octets === row.octets &&
    is.bodyOctets === row.bodyOctets &&
    is.fromCrc === row.fromCrc &&
    is.headerCrc === row.headerCrc
  );
}

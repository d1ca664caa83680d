/**
 * Reads what identifies each message: its From_ line, its header and the first octets of its body. One
 * pass in file order through a window, so that a mailbox of small messages costs few reads.
 */
import { crc32 } from 'node:zlib';
import { Unavailable } from '../errors.js';
import type { Extent, MailboxIndex } from '../mbox/mailbox-index.js';
import { BODY_SAMPLE, IdentityDigest } from '../mbox/unique-id.js';
import type { MailboxFile } from './mailbox-file.js';

const WINDOW = 256 * 1024;

/** Reads ahead, so that neighbouring ranges cost one read. */
class Window {
  #start = 0;
  #octets: Uint8Array = new Uint8Array(0);

  constructor(
    private readonly file: MailboxFile,
    /** Nothing is read past this offset. */
    private readonly limit: number,
  ) {}

  /** Octets from `position` on: at least one, at most `end - position`; none at the end of the file. */
  async at(position: number, end: number): Promise<Uint8Array> {
    if (position < this.#start || position >= this.#start + this.#octets.length) {
      this.#start = position;
      this.#octets = await this.file.read(position, Math.min(this.limit, position + WINDOW));
    }
    const from = position - this.#start;
    return this.#octets.subarray(from, Math.min(this.#octets.length, from + (end - position)));
  }
}

/**
 * The identities of all messages from `first` on, in order (`mbox/unique-id.ts`).
 * @throws Unavailable SYS/TEMP (fatal) when a header is not the one that was indexed
 */
export async function identitiesOf(file: MailboxFile, index: MailboxIndex, first = 1): Promise<string[]> {
  const window = new Window(file, index.size);
  const identities: string[] = [];
  for (let n = first; n <= index.messages; n++) identities.push(await identify(window, index.extent(n)));
  return identities;
}

/** The identity of one message. */
export function identityOf(file: MailboxFile, index: MailboxIndex, n: number): Promise<string> {
  const extent = index.extent(n);
  return identify(new Window(file, sampleEnd(extent)), extent);
}

function sampleEnd({ body, contentEnd }: Extent): number {
  return Math.min(contentEnd, body + BODY_SAMPLE);
}

async function identify(window: Window, extent: Extent): Promise<string> {
  const { start, body, bodyOctets, headerCrc } = extent;
  const digest = new IdentityDigest(bodyOctets);
  const end = sampleEnd(extent);
  let crc = 0;
  for (let position = start; position < end; ) {
    // Stops at the body, so that the checksum covers exactly the header.
    const chunk = await window.at(position, position < body ? body : end);
    if (chunk.length === 0) break;
    if (position < body) crc = crc32(chunk, crc);
    digest.push(chunk);
    position += chunk.length;
  }
  if (crc !== headerCrc) {
    throw new Unavailable('SYS/TEMP', 'mailbox was changed by another program', { fatal: true });
  }
  return digest.end();
}

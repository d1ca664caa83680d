/** Mailboxes whose messages begin, end and lie across sector borders, and the mail that comes later. */
import { SECTOR } from '../../lib/maildrop/journal-format.js';

/** A message of exactly `octets`, the empty line after it included; at least 80. */
export function messageOf(id: string, octets: number): Buffer {
  const head = `From ${id}@x.example Mon Jan  5 10:00:00 2026\nSubject: ${id}\nStatus: O\n\n`;
  const body = octets - head.length - 2;
  if (body < 0) throw new RangeError(`a message of ${octets} octets is too small`);
  const line = `${id}-`.repeat(20).slice(0, 39);
  return Buffer.from(`${head}${`${line}\n`.repeat(Math.ceil(body / 40)).slice(0, body)}\n\n`);
}

export interface Mailbox {
  readonly name: string;
  readonly messages: readonly Buffer[];
}

function mailbox(name: string, ...sizes: number[]): Mailbox {
  return { name, messages: sizes.map((size, i) => messageOf(`m${i + 1}`, size)) };
}

/** Borders fall inside, at the ends of, and just beside messages; some are longer than a sector. */
export const MAILBOXES: readonly Mailbox[] = [
  mailbox('3 small ones in one sector', 100, 120, 90),
  mailbox('3 with borders at the ends', SECTOR, 2 * SECTOR, SECTOR),
  mailbox('3 with borders just beside', SECTOR - 1, SECTOR + 2, SECTOR - 10),
  mailbox('4 with borders inside', 300, 700, 260, 400),
  mailbox('5 of all sizes', 90, 600, 85, 1100, 200),
];

/** Three of which two are equal, so that unique-ids have to be remembered. */
export const TWINS: Mailbox = {
  name: '4 of which three are equal',
  messages: [messageOf('twin', 400), messageOf('other', 300), messageOf('twin', 400), messageOf('twin', 400)],
};

/** Nothing; shorter and longer than what a deletion frees; a tail that the disk lost (F8). */
export const DELIVERIES: readonly Buffer[] = [
  Buffer.alloc(0),
  messageOf('a', 80),
  messageOf('b', 3 * SECTOR + 30),
  Buffer.alloc(700),
];

/** Every set of message-numbers but the empty one. */
export function deletionSets(count: number): number[][] {
  return Array.from({ length: 2 ** count - 1 }, (_, i) =>
    Array.from({ length: count }, (_, n) => n + 1).filter(n => ((i + 1) >> (n - 1)) & 1),
  );
}

/** What stays of the messages. */
export function without(messages: readonly Buffer[], deleted: readonly number[]): Buffer {
  return Buffer.concat(messages.filter((_, i) => !deleted.includes(i + 1)));
}

/** xorshift32: the same numbers in [0, 1) for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

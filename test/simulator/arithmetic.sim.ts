/** Which octets stay: every set of deletions, by the plan and by the whole UPDATE, against ten lines. */
import { expect, test } from 'vitest';
import { planUpdate } from '../../lib/mbox/compaction.js';
import type { MailboxIndex } from '../../lib/mbox/mailbox-index.js';
import { Scanner } from '../../lib/mbox/scanner.js';
import { DEEP } from './enumerate.js';
import { messageOf, randomFrom } from './mailboxes.js';
import { mailboxOf, update, worldWith } from './sessions.js';

const MAILBOXES = 50;
const COUNT = 12;
/** Of the fifty, how many go through the whole UPDATE; the others through the plan only. */
const THROUGH_UPDATE = DEEP ? MAILBOXES : 4;
const RANDOM_CASES = 1_000_000;

/** The oracle: the octets that stay. `marks` has a 1 for each message that goes. */
function oracle(messages: readonly Buffer[], marks: Uint8Array): Buffer {
  return Buffer.concat(messages.filter((_, i) => marks[i] === 0));
}

/** Carries a plan out in a copy of the file, downwards, in place. */
function carriedOut(index: MailboxIndex, file: Buffer, marks: Uint8Array): Buffer {
  const marked = new Set([...marks.keys()].filter(i => marks[i] === 1).map(i => i + 1));
  const plan = planUpdate(index, marked);
  if (plan === undefined) return file;
  const copy = Buffer.from(file);
  let at = plan.from;
  for (const { start, end } of plan.kept) {
    copy.copyWithin(at, start, end);
    at += end - start;
  }
  if (at !== plan.newSize) throw new Error(`${at} octets, not ${plan.newSize}`);
  return copy.subarray(0, at);
}

function mailboxOfRandom(random: () => number, count: number, longest: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => {
    const message = messageOf(`m${i}`, 80 + Math.floor(random() ** 3 * longest));
    // Mail that came with CRLF, and a last message that no empty line follows.
    if (random() < 0.2) return Buffer.from(message.toString('latin1').replaceAll('\n', '\r\n'), 'latin1');
    return i === count - 1 && random() < 0.3 ? message.subarray(0, -1) : message;
  });
}

function indexOf(file: Buffer): MailboxIndex {
  const scanner = new Scanner();
  scanner.push(file);
  return scanner.end();
}

test(`all 2^${COUNT} deletions in ${MAILBOXES} mailboxes`, async () => {
  const random = randomFrom(12);
  let cases = 0;
  let updates = 0;
  for (let m = 0; m < MAILBOXES; m++) {
    const messages = mailboxOfRandom(random, COUNT, 1500);
    const file = Buffer.concat(messages);
    const index = indexOf(file);
    expect(index.messages).toBe(COUNT);
    const start = worldWith(file, Buffer.alloc(0));
    for (let set = 0; set < 2 ** COUNT; set++) {
      const marks = Uint8Array.from({ length: COUNT }, (_, i) => (set >> i) & 1);
      const expected = oracle(messages, marks);
      if (!carriedOut(index, file, marks).equals(expected)) expect.fail(`mailbox ${m}, set ${set}`);
      cases++;
      if (m >= THROUGH_UPDATE) continue;
      const numbers = [...marks.keys()].filter(i => marks[i] === 1).map(i => i + 1);
      const { world, error } = await update(start, numbers);
      if (error !== undefined || !mailboxOf(world)!.equals(expected)) expect.fail(`UPDATE ${m}, set ${set}`);
      updates++;
    }
  }
  console.log(`${cases.toLocaleString('en')} plans and ${updates.toLocaleString('en')} UPDATEs agree`);
});

test(`${RANDOM_CASES} random deletions in larger mailboxes`, () => {
  const random = randomFrom(1000);
  for (let m = 0, cases = 0; cases < RANDOM_CASES; m++) {
    const messages = mailboxOfRandom(random, 13 + Math.floor(random() * 60), 300);
    const file = Buffer.concat(messages);
    const index = indexOf(file);
    for (let n = 0; n < 1000; n++, cases++) {
      const share = random();
      const marks = Uint8Array.from(messages, () => (random() < share ? 1 : 0));
      if (!carriedOut(index, file, marks).equals(oracle(messages, marks))) {
        expect.fail(`mailbox ${m}, marks ${marks.join('')}`);
      }
    }
  }
});

/**
 * Whether deleting some messages of a mailbox leaves identical ones behind, so that their unique-ids have to
 * be remembered (`unique-id-memory.ts`). Identical messages are rare, and reading each message to find none
 * would be the most of an UPDATE: so only those are read that the index cannot tell from another one.
 */
import type { Marked } from '../mbox/compaction.js';
import type { Extent, MailboxIndex } from '../mbox/mailbox-index.js';
import { identityOf } from './identities.js';
import type { MailboxFile } from './mailbox-file.js';
import type { UniqueIdMemory } from './unique-id-memory.js';

/** What becomes of messages that are alike: bits, so that both can be true. */
const GOES = 1;
const STAYS = 2;
const BOTH = GOES | STAYS;

/** Whether a message that stays is identical to one that goes, or anything is remembered of earlier ones. */
export async function touchesDuplicates(
  file: MailboxFile,
  index: MailboxIndex,
  marked: Marked,
  memory: UniqueIdMemory,
): Promise<boolean> {
  if (await memory.exists()) return true;
  const identities = new Fates<string>();
  for (const n of alikeIn(index, marked)) {
    if (identities.add(await identityOf(file, index, n), marked.has(n))) return true;
  }
  return false;
}

/**
 * The messages that, going by the index, may be identical to one of the other fate: their bodies are equally
 * long, and their From_ lines are the same, or one octet apart, since line ends make no difference.
 */
export function* alikeIn(index: MailboxIndex, marked: Marked): Generator<number> {
  const alike = equallyLong(index, marked);
  const lines = new Fates<string>();
  for (const n of alike) {
    const extent = index.extent(n);
    lines.add(sameLine(extent), marked.has(n));
    lines.add(lineOfLength(extent, 0), marked.has(n));
  }
  for (const n of alike) {
    const extent = index.extent(n);
    const keys = [sameLine(extent), lineOfLength(extent, -1), lineOfLength(extent, 1)];
    if (keys.some(key => lines.hasOther(key, marked.has(n)))) yield n;
  }
}

/**
 * The messages whose bodies are as long as one of the other fate, in file order. Those of one fate are usually few, such
 * as one that goes, or none that stays: their lengths are looked for among the others.
 */
function equallyLong(index: MailboxIndex, marked: Marked): number[] {
  const few = new Set(fewer(index, marked));
  const lengths = new Set<number>();
  for (const n of few) lengths.add(index.bodyOctets(n));
  const others = numbersWhere(index, n => lengths.has(index.bodyOctets(n)) && !few.has(n));
  if (others.length === 0) return [];
  const found = new Set(others.map(n => index.bodyOctets(n)));
  for (const n of few) if (found.has(index.bodyOctets(n))) others.push(n);
  return others.sort((a, b) => a - b);
}

/** Those that go, or those that stay. */
function fewer(index: MailboxIndex, marked: Marked): Iterable<number> {
  if (marked.size === index.messages) return [];
  if (marked.size <= index.messages / 2) return marked.keys();
  return numbersWhere(index, n => !marked.has(n));
}

function numbersWhere({ messages }: MailboxIndex, is: (n: number) => boolean): number[] {
  const numbers: number[] = [];
  for (let n = 1; n <= messages; n++) if (is(n)) numbers.push(n);
  return numbers;
}

function sameLine({ bodyOctets, start, header, fromCrc }: Extent): string {
  return `${bodyOctets} ${header - start} ${fromCrc}`;
}

function lineOfLength({ bodyOctets, start, header }: Extent, more: number): string {
  return `${bodyOctets} ${header - start + more}`;
}

/** What becomes of the messages that have a key. */
class Fates<Key> {
  readonly #fates = new Map<Key, number>();

  /** @returns whether some with this key go and some stay */
  add(key: Key, goes: boolean): boolean {
    const fate = (this.#fates.get(key) ?? 0) | (goes ? GOES : STAYS);
    this.#fates.set(key, fate);
    return fate === BOTH;
  }

  /** Whether one with this key stays, if this one goes, or the other way round. */
  hasOther(key: Key, goes: boolean): boolean {
    return ((this.#fates.get(key) ?? 0) & (goes ? STAYS : GOES)) !== 0;
  }
}

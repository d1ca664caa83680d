/**
 * Unique-ids from identities (`unique-id.ts`). Messages can be alike in all that makes an identity (the same mail
 * delivered twice within a second). They are told apart by an ordinal in file order: the first has the bare digest as
 * its unique-id, the second `digest-2`. When one of them is deleted the others keep their ordinals, which must then be
 * remembered: were they counted again, `digest-2` would become `digest`, which the client has seen and would skip.
 * Only a message that is gone can leave its unique-id to a later one, and only to one that is its twin.
 */

import { IDENTITY } from './unique-id.js';

/** Identity → ordinals of its messages in file order, for identities whose ordinals are not 1, 2, 3... */
export type Ordinals = ReadonlyMap<string, readonly number[]>;

/**
 * The ordinal of each message among those of its identity. Remembered ordinals go to the first
 * messages in file order, since mail is only ever appended; later ones count on from the highest.
 */
function ordinalsOf(identities: readonly string[], remembered: Ordinals): number[] {
  const counts = new Map<string, number>();
  return identities.map(identity => {
    const count = (counts.get(identity) ?? 0) + 1;
    counts.set(identity, count);
    const known = remembered.size === 0 ? undefined : remembered.get(identity);
    if (known === undefined) return count;
    return known[count - 1] ?? Math.max(0, ...known) + count - known.length;
  });
}

/** Slots looked at for one identity: digests are spread evenly, unless somebody has made them so that they are not. */
const MOST_PROBES = 32;

/**
 * Whether no two are the same, as usual: many times as fast as a Map of them. An open hash table of 63 bits of each; those
 * who agree in these may be the same.
 * @param identities that lie behind each other
 */
export function surelyDiffer(identities: Buffer): boolean {
  const slots = 2 ** Math.ceil(Math.log2(2 * (identities.length / IDENTITY) + 1));
  const firsts = new Uint32Array(slots);
  // 0 where there is none.
  const seconds = new Uint32Array(slots);
  const isNew = (first: number, second: number) => {
    for (let probe = 0; probe < MOST_PROBES; probe++) {
      const slot = (first + probe) & (slots - 1);
      if (seconds[slot] === 0) {
        firsts[slot] = first;
        seconds[slot] = second;
        return true;
      }
      if (firsts[slot] === first && seconds[slot] === second) return false;
    }
    return false;
  };
  for (let at = 0; at < identities.length; at += IDENTITY) {
    if (!isNew(identities.readUInt32LE(at), (identities.readUInt32LE(at + 4) | 1) >>> 0)) return false;
  }
  return true;
}

/**
 * The unique-ids of all messages, in file order.
 * @param ordinals what `survivingOrdinals` returned when messages were last deleted
 */
export function assignUniqueIds(identities: readonly string[], ordinals: Ordinals): string[] {
  return ordinalsOf(identities, ordinals).map((ordinal, i) =>
    ordinal === 1 ? identities[i]! : `${identities[i]}-${ordinal}`,
  );
}

/**
 * What to remember once the marked messages are deleted: the ordinals of identities whose survivors
 * would not be counted 1, 2, 3... again. Usually nothing.
 * @param isMarked for a message-number: element n-1 of `identities` is message n
 */
export function survivingOrdinals(
  identities: readonly string[],
  ordinals: Ordinals,
  isMarked: (n: number) => boolean,
): Map<string, number[]> {
  const survivors = new Map<string, number[]>();
  ordinalsOf(identities, ordinals).forEach((ordinal, i) => {
    if (isMarked(i + 1)) return;
    const list = survivors.get(identities[i]!);
    if (list) list.push(ordinal);
    else survivors.set(identities[i]!, [ordinal]);
  });
  for (const [identity, list] of survivors) {
    if (list.every((ordinal, i) => ordinal === i + 1)) survivors.delete(identity);
  }
  return survivors;
}

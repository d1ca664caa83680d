/** A mailbox through years of deliveries and deletions: no survivor's unique-id ever changes. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assignUniqueIds, survivingOrdinals } from '../../lib/mbox/ordinals.js';
import { runs } from '../support/runs.js';

type Step = { deliver: string } | { remove: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ deliver: fc.constantFrom('a', 'a', 'b', 'c') }),
  // A bit for each message.
  fc.record({ remove: fc.nat({ max: 1023 }) }),
);

test('unique-ids stay with their messages and differ from each other', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), steps => {
      let mailbox: { identity: string; id: string | undefined }[] = [];
      let ordinals = new Map<string, number[]>();
      for (const action of steps) {
        if ('deliver' in action) {
          mailbox.push({ identity: action.deliver, id: undefined });
        } else {
          const isMarked = (n: number) => Math.floor(action.remove / 2 ** (n - 1)) % 2 === 1;
          const identities = mailbox.map(m => m.identity);
          ordinals = survivingOrdinals(identities, ordinals, isMarked);
          mailbox = mailbox.filter((_, i) => !isMarked(i + 1));
        }
        const ids = assignUniqueIds(
          mailbox.map(m => m.identity),
          ordinals,
        );
        expect(new Set(ids).size).toBe(ids.length);
        mailbox.forEach((m, i) => {
          if (m.id !== undefined) expect(ids[i]).toBe(m.id);
          m.id = ids[i];
        });
      }
    }),
    runs(19961103, 500),
  );
});

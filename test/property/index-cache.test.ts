/**
 * The index kept between sessions, against scans without one: whatever other programs do to the mailbox in
 * between, and whatever the kept file says, as far as mail is concerned.
 */
import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Unavailable } from '../../lib/errors.js';
import { decodeIndex, encodeIndex } from '../../lib/maildrop/index-cache-format.js';
import { IndexMemory } from '../../lib/maildrop/index-memory.js';
import type { Spool as MailSpool } from '../../lib/maildrop/open.js';
import { MailboxIndex, OFFSETS, SMALL } from '../../lib/mbox/mailbox-index.js';
import type { Maildrop } from '../../lib/pop3/ports.js';
import { BUSY, message, messages, type Spool, spoolWith } from '../support/mailbox.js';
import { mailSpool, type Overrides, openAlice, PEER } from '../support/maildrop.js';
import { collect } from '../support/message-reader.js';
import { runs } from '../support/runs.js';

const SEED = 19960103;
/** Longer than the clock of any file system takes to tick. */
const SETTLED = 25;
/** Each session has the memory of the ones before it, with whatever they left there. */
const CACHED = { indexCache: 0, indexMemory: new IndexMemory({ least: 0 }) };

/** A mailbox as a list of messages, and what other programs do to it. */
type Mail = { id: number; flag: string; body: string };

const text = ({ id, flag, body }: Mail) => {
  const whole = message(id, body);
  return flag === '' ? whole : whole.replace('Subject:', `Status: ${flag}\nSubject:`);
};

const body = fc.constantFrom('', '.\n', 'x\n\ny\n', 'From here\n', `${'z'.repeat(300)}\n`, '\n\n');
const flag = fc.constantFrom('', 'O', 'RO', 'O ', 'R');
const at = fc.nat({ max: 40 });
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ does: fc.constant('append' as const), body, flag }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('flag' as const), at, flag }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('swap flags' as const), at }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('expunge' as const), at }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('edit' as const), at, body }) },
  { weight: 5, arbitrary: fc.record({ does: fc.constant('session' as const), uidl: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant('delete' as const),
      at: fc.array(at, { maxLength: 3 }),
      remembering: fc.boolean(),
    }),
  },
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Found by chance: a line taken from one message and a line put into the next leave what follows where it was. */
const SAME_PLACE: Step[] = [
  { does: 'edit', at: 10, body: '' },
  { does: 'session', uidl: false },
  { does: 'flag', at: 0, flag: '' },
  { does: 'append', body: '', flag: '' },
  { does: 'edit', at: 5, body: 'From here\n' },
  { does: 'swap flags', at: 0 },
  { does: 'append', body: '', flag: '' },
];
const FIXED: Step[][] = [SAME_PLACE, [...SAME_PLACE, { does: 'delete', at: [1], remembering: false }]];

test('any sequence of deliveries, mail readers and sessions: the answers are those of a fresh scan', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async steps => {
      let id = 4;
      let mail: Mail[] = [1, 2, 3].map(n => ({ id: n, flag: 'O', body: 'Hello.\n' }));
      const spool = spoolWith(mail.map(text).join(''));
      // A server that lives on remembers small mailboxes.
      const server = await mailSpool(spool, { indexCache: 2 ** 40 });
      let rewritten = false;
      for (const one of steps) {
        if (one.does === 'append') {
          const fresh = { id: id++, body: one.body, flag: one.flag };
          mail.push(fresh);
          appendFileSync(spool.mailbox, text(fresh));
        } else if (one.does === 'session') {
          await compareSessions(spool, server, one.uidl, rewritten);
          rewritten = false;
        } else if (one.does === 'delete') {
          const marks = new Set(one.at.map(n => n % Math.max(1, mail.length)));
          const open = () => (one.remembering ? openIn(server) : openAlice(spool, CACHED));
          const marked = await openAndMark(open, marks).catch(error => {
            if (!rewritten || !isChanged(error)) throw error;
            expect(spool.content()).toBe(mail.map(text).join(''));
            return openAndMark(open, marks);
          });
          await marked.update();
          // To the kept index, a server that keeps none is one of the others.
          rewritten = one.remembering;
          mail = mail.filter((_, n) => !marks.has(n));
          expect(spool.content()).toBe(mail.map(text).join(''));
        } else if (mail.length > 0) {
          rewrite(mail, one);
          rewritten = true;
          writeFileSync(spool.mailbox, mail.map(text).join(''));
        }
      }
      await compareSessions(spool, server, true, rewritten);
    }),
    // As many besides those.
    { ...runs(SEED, 20 + FIXED.length), examples: FIXED.map(steps => [steps]) },
  );
});

type Rewriting = { at: number } & (
  | { does: 'flag'; flag: string }
  | { does: 'swap flags' | 'expunge' }
  | { does: 'edit'; body: string }
);

/** As mutt, Dovecot or an editor does. */
function rewrite(mail: Mail[], one: Rewriting): void {
  const n = one.at % mail.length;
  if (one.does === 'expunge') mail.splice(n, 1);
  else if (one.does === 'flag') mail[n]!.flag = one.flag;
  else if (one.does === 'edit') mail[n]!.body = one.body;
  else {
    const other = mail[(n + 1) % mail.length]!;
    [mail[n]!.flag, other.flag] = [other.flag, mail[n]!.flag];
  }
}

/** What a session has said to its client. */
type Said = { octets?: readonly number[]; ids?: readonly string[] };

/**
 * @param rewritten whether others have changed messages since the last session: then it may turn out that the index is
 * not theirs after the client was told of it; that session ends, and the next is right
 */
async function compareSessions(
  spool: Spool,
  server: MailSpool,
  uidl: boolean,
  rewritten: boolean,
): Promise<void> {
  const told = await answers(spool, {}, uidl);
  const said: Said = {};
  const cached = await answers(spool, CACHED, uidl, said).catch(error => {
    if (!rewritten || !isChanged(error)) throw error;
    // Else nothing would have kept it from going on.
    expect(said).not.toEqual({ octets: told.octets, ...(said.ids && { ids: told.ids }) });
    return answers(spool, CACHED, uidl);
  });
  expect(cached).toEqual(told);
  // Twice, with enough time for what is read to be remembered.
  await sleep(SETTLED);
  for (let n = 0; n < 2; n++) expect(await answersOf(await openIn(server), uidl)).toEqual(told);
}

/** The end of a session that cannot keep what it has said. */
function isChanged(error: unknown): boolean {
  return error instanceof Unavailable && error.fatal;
}

async function openAndMark(open: () => Promise<Maildrop>, marks: ReadonlySet<number>): Promise<Maildrop> {
  const maildrop = await open();
  try {
    for (const n of marks) if (n < maildrop.messages) await maildrop.mark(n + 1);
    return maildrop;
  } catch (error) {
    await maildrop.release();
    throw error;
  }
}

function openIn(server: MailSpool): Promise<Maildrop> {
  return server.open({ user: 'alice' }, PEER, BUSY);
}

async function answers(spool: Spool, overrides: Overrides, uidl: boolean, said: Said = {}) {
  return answersOf(await openAlice(spool, overrides), uidl, said);
}

async function answersOf(maildrop: Maildrop, uidl: boolean, said: Said = {}) {
  try {
    const numbers = Array.from({ length: maildrop.messages }, (_, i) => i + 1);
    const octets = numbers.map(n => maildrop.octets(n));
    said.octets = octets;
    const ids = uidl ? await maildrop.uniqueIds() : [];
    said.ids = ids;
    const texts: string[] = [];
    for (const n of numbers) texts.push(await collect(maildrop.retrieve(n)));
    return { octets, ids, texts };
  } finally {
    await maildrop.release();
  }
}

const number = fc.oneof(
  fc.nat({ max: 3000 }),
  fc.constantFrom(-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 2 ** 32, -0),
);
const damage = fc.record({
  column: fc.nat({ max: OFFSETS + SMALL - 1 }),
  row: fc.nat({ max: 7 }),
  to: fc.oneof(
    { weight: 1, arbitrary: number },
    { weight: 2, arbitrary: fc.record({ by: fc.integer({ min: -9, max: 9 }) }) },
  ),
});

test('a hostile index with a right checksum: nothing crashes or hangs, and what is deleted is a message', async () => {
  const all = messages(8);
  const spool = spoolWith(all.join(''));
  await sleep(30);
  await answers(spool, CACHED, true);
  const path = join(spool.stateDir, 'alice/index');
  const whole = readFileSync(path);
  await fc.assert(
    fc.asyncProperty(
      fc.array(damage, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(undefined, 0, 5000, 2 ** 40),
      fc.constantFrom<0 | 1>(0, 0, 0, 1),
      fc.boolean(),
      fc.integer({ min: 1, max: 8 }),
      async (damages, size, hidden, proven, n) => {
        // The file that it says it is of: the inode stays, the ctime is what we read.
        writeFileSync(spool.mailbox, all.join(''));
        const octets = Buffer.alloc(whole.length);
        octets.set(whole);
        const kept = decodeIndex(octets)!;
        const { offsets, small } = kept.index;
        for (const { column, row, to } of damages) {
          const [columns, i] =
            column < OFFSETS ? [offsets, row * OFFSETS + column] : [small, row * SMALL + column - OFFSETS];
          columns[i] = typeof to === 'number' ? to : columns[i]! + to.by;
        }
        const index = new MailboxIndex(offsets, small, size ?? kept.index.size, hidden);
        const { dev, ino, mtimeNs, ctimeNs } = statSync(spool.mailbox, { bigint: true });
        const stat = { dev, ino, mtimeNs, ctimeNs };
        writeFileSync(path, encodeIndex({ ...kept, index, proven, stat, seenAt: Date.now() - 1000 }));

        await answers(spool, CACHED, true).catch(onlyUnavailable);
        writeFileSync(path, encodeIndex({ ...kept, index, proven, stat, seenAt: Date.now() - 1000 }));
        const maildrop = await openAlice(spool, CACHED);
        try {
          if (n <= maildrop.messages) await maildrop.mark(n);
          await maildrop.update();
        } catch (error) {
          onlyUnavailable(error);
        } finally {
          await maildrop.release();
        }
        const left = spool.content();
        const possible = [all.join(''), ...all.map((_, i) => all.filter((_, j) => j !== i).join(''))];
        expect(possible).toContain(left);
      },
    ),
    runs(SEED, 60),
  );
});

function onlyUnavailable(error: unknown): void {
  if (!(error instanceof Unavailable)) throw error;
}

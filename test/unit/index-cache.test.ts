/** The index kept between sessions: when it is used, when it is not, and that it never decides what is deleted. */
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { decodeIndex, encodeIndex } from '../../lib/maildrop/index-cache-format.js';
import type { SpoolIo } from '../../lib/maildrop/io.js';
import { isSettled } from '../../lib/maildrop/snapshot.js';
import type { Maildrop } from '../../lib/pop3/ports.js';
import { message, messages, type Spool, spoolWith } from '../support/mailbox.js';
import { type Overrides, openAlice } from '../support/maildrop.js';
import { collect } from '../support/message-reader.js';
import { meteredIo } from '../support/metered-io.js';

const CACHED = { indexCache: 0 };
/** Longer than the clock of any file system takes to tick. */
const SETTLED = 30;

const cachePath = (spool: Spool) => join(spool.stateDir, 'alice', 'index');

interface Answers {
  octets: number[];
  ids: readonly string[];
  texts: string[];
}

async function answersOf(maildrop: Maildrop, withTexts = true): Promise<Answers> {
  const numbers = Array.from({ length: maildrop.messages }, (_, i) => i + 1);
  const texts: string[] = [];
  const ids = await maildrop.uniqueIds();
  if (withTexts) for (const n of numbers) texts.push(await collect(maildrop.retrieve(n)));
  return { octets: numbers.map(n => maildrop.octets(n)), ids, texts };
}

/** What a session says. */
async function session(spool: Spool, overrides: Overrides = CACHED): Promise<Answers> {
  const maildrop = await openAlice(spool, overrides);
  try {
    return await answersOf(maildrop);
  } finally {
    await maildrop.release();
  }
}

/** What a session says for which there is no cache. */
const truth = (spool: Spool) => session(spool, {});

async function update(spool: Spool, marks: number[], overrides: Overrides = CACHED): Promise<void> {
  const maildrop = await openAlice(spool, overrides);
  try {
    for (const n of marks) await maildrop.mark(n);
  } catch (error) {
    await maildrop.release();
    throw error;
  }
  await maildrop.update();
  await maildrop.release();
}

/** A spool of which a session has left a cache that may be used unseen. */
async function warmSpool(count = 12): Promise<Spool> {
  const spool = spoolWith(messages(count).join(''));
  await sleep(SETTLED);
  await session(spool);
  expect(decodeIndex(readFileSync(cachePath(spool)))?.proven).toBe(true);
  return spool;
}

/** Replaces octets of the mailbox file where they are. */
function overwrite(spool: Spool, from: string, to: string): void {
  const at = spool.content().indexOf(from);
  expect(at).toBeGreaterThanOrEqual(0);
  const fd = openSync(spool.mailbox, 'r+');
  writeSync(fd, to, at, 'latin1');
}

test('an unchanged mailbox is not read to list it, nor to tell its unique-ids', async () => {
  const spool = await warmSpool();
  const io = meteredIo();
  const maildrop = await openAlice(spool, { ...CACHED, io });
  const { octets, ids } = await answersOf(maildrop, false);
  expect(io.readOf('/spool/alice')).toBe(0);
  await maildrop.release();
  expect({ octets, ids }).toEqual(await truth(spool).then(({ octets, ids }) => ({ octets, ids })));
  expect(await session(spool)).toEqual(await truth(spool));
});

test('the index is on its way before the mailbox is locked; an unchanged mailbox is looked at twice', async () => {
  const spool = await warmSpool();
  const calls: string[] = [];
  const io = meteredIo((call, path) => {
    calls.push(`${call} ${basename(path)}`);
    return undefined;
  });
  await (await openAlice(spool, { ...CACHED, io })).release();
  expect(calls.indexOf('open index')).toBeLessThan(calls.indexOf('fstat alice'));
  expect(calls.filter(call => call === 'open index')).toHaveLength(1);
  // When it is opened, and under the locks.
  expect(calls.filter(call => call === 'fstat alice')).toHaveLength(2);
});

test('mail that comes while the mailbox is being locked is there', async () => {
  const spool = await warmSpool();
  let come = false;
  const io = meteredIo((call, path) => {
    if (call === 'open' && basename(path) === 'index' && !come) {
      come = true;
      appendFileSync(spool.mailbox, message('late'));
    }
    return undefined;
  });
  const maildrop = await openAlice(spool, { ...CACHED, io });
  const told = await answersOf(maildrop);
  await maildrop.release();
  expect(told).toEqual(await truth(spool));
  expect(told.octets).toHaveLength(13);
});

test('after a delivery, the last message and what is new is read, and no more', async () => {
  const spool = await warmSpool();
  const last = message(12, `${'line\n'.repeat(11 % 7)}This is 12.\n`);
  const fresh = message('new', 'Hello.\n');
  appendFileSync(spool.mailbox, fresh);
  const io = meteredIo();
  const maildrop = await openAlice(spool, { ...CACHED, io });
  expect(maildrop.messages).toBe(13);
  // And the end of the line before it.
  expect(io.readOf('/spool/alice')).toBe(3 + last.length + fresh.length);
  await maildrop.uniqueIds();
  // The empty lines after them are nobody's.
  expect(io.readOf('/spool/alice')).toBe(last.length + fresh.length - 1);
  await maildrop.release();
  expect(await session(spool)).toEqual(await truth(spool));
});

test.each([1, 2, 63, 64, 65, 66, 200])('%d deliveries since the last session', async count => {
  const spool = await warmSpool(9);
  for (let n = 0; n < count; n++)
    appendFileSync(spool.mailbox, message(`new ${n}`, 'Hello.\n'.repeat(n % 5)));
  expect(await session(spool)).toEqual(await truth(spool));
  await update(spool, [1, 9, 10]);
  expect(await session(spool)).toEqual(await truth(spool));
});

test('many deliveries, each with a session after it', async () => {
  const spool = await warmSpool(3);
  for (let n = 4; n < 12; n++) {
    appendFileSync(spool.mailbox, message(n, `${'.\n'.repeat(n)}\n`));
    expect(await session(spool)).toEqual(await truth(spool));
  }
});

test.each([
  ['without its last line end', 'From a@b.example Mon Jan  5 10:00:00 2026\n\nno end'],
  ['without an empty line after it', 'From a@b.example Mon Jan  5 10:00:00 2026\n\nend\n'],
  ['with its header alone', 'From a@b.example Mon Jan  5 10:00:00 2026\nSubject: x\n'],
  ['with its From_ line alone', 'From a@b.example Mon Jan  5 10:00:00 2026\n'],
])('the last message %s: it may have grown itself', async (_, last) => {
  for (const more of ['more', '\nmore\n\n', '\n', `\n${message(9)}`, message(9), '\n\n\n']) {
    const spool = spoolWith(messages(3).join('') + last);
    await sleep(SETTLED);
    await session(spool);
    appendFileSync(spool.mailbox, more);
    expect(await session(spool)).toEqual(await truth(spool));
  }
});

test('a mailbox that begins with folder internal data, and a message that only looks like it', async () => {
  const internal = message('mailer-daemon').replace(
    /^Subject:.*$/m,
    "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2",
  );
  const spool = spoolWith(internal + messages(3).join('') + internal);
  await sleep(SETTLED);
  expect((await session(spool)).octets).toHaveLength(4);
  appendFileSync(spool.mailbox, message(5));
  expect(await session(spool)).toEqual(await truth(spool));
  await update(spool, [1, 4]);
  expect(spool.content()).toBe(internal + messages(3).slice(1).join('') + message(5));
});

test('size and mtime restored after a change: the ctime tells', async () => {
  const spool = spoolWith(messages(12).join(''));
  const mtimeNs = () => statSync(spool.mailbox, { bigint: true }).mtimeNs;
  utimesSync(spool.mailbox, 1e9, 1e9);
  await sleep(SETTLED);
  await session(spool);
  overwrite(spool, 'This is 2.\n\n', 'This is 2\n\n\n');
  overwrite(spool, '<3@example.com>', '<X@example.com>');
  utimesSync(spool.mailbox, 1e9, 1e9);
  expect(mtimeNs()).toBe(10n ** 18n);
  expect(decodeIndex(readFileSync(cachePath(spool)))).toMatchObject({
    proven: true,
    stat: { mtimeNs: mtimeNs() },
  });
  expect(await session(spool)).toEqual(await truth(spool));
});

test('a change within the tick of the clock in which the mailbox was read is not taken for none', async () => {
  const spool = spoolWith(messages(5).join(''));
  await session(spool);
  const { proven, stat, seenAt } = decodeIndex(readFileSync(cachePath(spool)))!;
  // Slow machines take longer than the tick; what counts is that it is known.
  expect(proven).toBe(isSettled(stat, seenAt));
});

test.each([
  ['fractions of a second', 1_000_000_004_000_000n, [1e9 + 4, 1e9 + 24], 1e9 + 25],
  ['whole seconds', 1_000_000_000_000_000n, [1e9, 1e9 + 1000, 1e9 + 2000], 1e9 + 2001],
])('a file system with %s', (_, ctimeNs, early, late) => {
  for (const seenAt of early) expect(isSettled({ ctimeNs }, seenAt)).toBe(false);
  expect(isSettled({ ctimeNs }, late)).toBe(true);
});

test.each([
  ['a rewritten mailbox that is shorter', (all: string[]) => all.slice(1).join('')],
  ['a longer one', (all: string[]) => all.slice(1).join('') + messages(20).join('')],
  ['one with a message put before the others', (all: string[]) => message('new') + all.join('')],
  [
    'one with another last message of the same length',
    (all: string[]) => all.join('').replace(/<12@/g, '<21@'),
  ],
  ['an empty one', () => ''],
])('%s is read again', async (_, rewritten) => {
  const spool = await warmSpool();
  writeFileSync(spool.mailbox, rewritten(messages(12)));
  expect(await session(spool)).toEqual(await truth(spool));
  const other = await warmSpool();
  writeFileSync(`${other.mailbox}.new`, rewritten(messages(12)), { mode: 0o600 });
  renameSync(`${other.mailbox}.new`, other.mailbox);
  expect(await session(other)).toEqual(await truth(other));
});

/** With a status of its own for each message. */
function flagged(flags: readonly string[]): string {
  return flags.map((flag, i) => message(i + 1).replace('Subject:', `Status: ${flag}\nSubject:`)).join('');
}

test.each([
  ['in place, as Dovecot does', ['O ', 'O ', 'O ', 'O '], ['O ', 'RO', 'O ', 'O ']],
  ['one longer and another shorter, as mutt may', ['O', 'RO', 'O', 'O'], ['RO', 'O', 'O', 'O']],
])('flags changed %s, then a delivery: nobody notices', async (_, before, after) => {
  for (const act of [
    async (maildrop: Maildrop, all: Answers) => expect(await answersOf(maildrop)).toEqual(all),
    async (maildrop: Maildrop) => {
      await maildrop.mark(2);
      await maildrop.update();
      await maildrop.release();
    },
    async (maildrop: Maildrop, all: Answers) => {
      expect(await maildrop.uniqueIds()).toEqual(all.ids);
      await maildrop.mark(1);
      await maildrop.mark(3);
      await maildrop.update();
      await maildrop.release();
    },
  ]) {
    const spool = spoolWith(flagged(before));
    await sleep(SETTLED);
    await session(spool);
    const now = flagged(after) + message(5);
    writeFileSync(spool.mailbox, now);
    const told = await truth(spool);
    const maildrop = await openAlice(spool, CACHED);
    await act(maildrop, told);
    const marked = [1, 2, 3, 4, 5].filter(n => maildrop.isMarked(n));
    await maildrop.release();
    const parts = now.split(/(?<=\n\n)(?=From )/);
    expect(spool.content()).toBe(parts.filter((_, i) => !marked.includes(i + 1)).join(''));
    expect(await session(spool)).toEqual(await truth(spool));
  }
});

test('a message exchanged in place for another, then a delivery: what was told of it is not deleted', async () => {
  const spool = await warmSpool();
  const { ids } = await truth(spool);
  overwrite(spool, '<3@example.com>', '<X@example.com>');
  appendFileSync(spool.mailbox, message(13));
  const before = spool.content();
  const maildrop = await openAlice(spool, CACHED);
  expect((await maildrop.uniqueIds()).slice(0, 12)).toEqual(ids);
  await expect(maildrop.mark(3)).rejects.toMatchObject({ fatal: true });
  await maildrop.release();
  expect(spool.content()).toBe(before);
  // The next session does not fall into the same trap.
  expect(await session(spool)).toEqual(await truth(spool));
});

test('a body exchanged in place for one that takes more on the wire: that session ends, and the next is right', async () => {
  const spool = await warmSpool();
  overwrite(spool, 'line\nline\nThis is 3.', 'a\nb\nc\nd\ne\nThis is 3.');
  appendFileSync(spool.mailbox, message(13));
  const maildrop = await openAlice(spool, CACHED);
  await expect(maildrop.mark(3)).rejects.toMatchObject({ fatal: true });
  await maildrop.release();
  expect(await session(spool)).toEqual(await truth(spool));
});

test('the same body, for RETR: that session ends, and the next is right', async () => {
  const spool = await warmSpool();
  overwrite(spool, 'line\nline\nThis is 3.', 'a\nb\nc\nd\ne\nThis is 3.');
  appendFileSync(spool.mailbox, message(13));
  const maildrop = await openAlice(spool, CACHED);
  await expect(collect(maildrop.retrieve(3))).rejects.toMatchObject({ fatal: true });
  await maildrop.release();
  expect(await session(spool)).toEqual(await truth(spool));
});

test('flags changed after the locks were yielded: what was read ahead before is not served', async () => {
  const spool = spoolWith(flagged(['O', 'O', 'O', 'O']));
  await sleep(SETTLED);
  await session(spool);
  appendFileSync(spool.mailbox, message(5));
  await sleep(SETTLED);
  const { texts } = await truth(spool);
  const maildrop = await openAlice(spool, { ...CACHED, lockYield: 0 });
  expect(await collect(maildrop.retrieve(1))).toBe(texts[0]);
  writeFileSync(spool.mailbox, flagged(['O', 'RO', 'O', 'O']) + message(5) + message(6));
  await sleep(SETTLED);
  for (const n of [2, 3, 4, 5]) expect(await collect(maildrop.retrieve(n))).toBe(texts[n - 1]);
  await maildrop.mark(2);
  await maildrop.update();
  await maildrop.release();
  const left = flagged(['O', 'RO', 'O', 'O']).split(/(?<=\n\n)(?=From )/);
  expect(spool.content()).toBe(left.filter((_, i) => i !== 1).join('') + message(5) + message(6));
});

test.each(['retrieve', 'top'] as const)(
  'messages of one length, one of which a mail reader deletes: after %s, none gets the number of another',
  async how => {
    const alike = Array.from({ length: 7 }, (_, i) => message(i, 'Alike.\n'));
    const spool = spoolWith(alike.slice(0, 4).join(''));
    await sleep(SETTLED);
    await session(spool);
    appendFileSync(spool.mailbox, alike[4]!);
    await sleep(SETTLED);
    const maildrop = await openAlice(spool, { ...CACHED, lockYield: 0 });
    const read = (n: number) => collect(how === 'top' ? maildrop.top(n, 0) : maildrop.retrieve(n));
    for (const n of [1, 2]) await read(n);
    const now = alike.slice(1).join('');
    writeFileSync(spool.mailbox, now);
    // It would be message 4, and DELE of what was read would delete message 3 unread.
    await expect(read(3)).rejects.toMatchObject({ fatal: true });
    await maildrop.release();
    expect(spool.content()).toBe(now);
    expect(await session(spool)).toEqual(await truth(spool));
  },
);

test.each([[[1]], [[12]], [[2, 5, 11, 12]], [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]])(
  'deleting %j by a cached index, then by what that leaves',
  async marks => {
    const spool = await warmSpool();
    await update(spool, marks);
    const left = messages(12).filter((_, i) => !marks.includes(i + 1));
    expect(spool.content()).toBe(left.join(''));
    const io = meteredIo();
    const maildrop = await openAlice(spool, { ...CACHED, io });
    if (left.length > 2) expect(io.readOf('/spool/alice')).toBeLessThan(spool.content().length / 2);
    await maildrop.release();
    expect(await session(spool)).toEqual(await truth(spool));
  },
);

test('mail that comes while the session deletes: it is in the next one', async () => {
  const spool = await warmSpool();
  const maildrop = await openAlice(spool, { ...CACHED, lockYield: 0 });
  await maildrop.mark(2);
  appendFileSync(spool.mailbox, message('late'));
  await maildrop.update();
  await maildrop.release();
  expect(await session(spool)).toEqual(await truth(spool));
  expect((await truth(spool)).octets).toHaveLength(12);
});

test('twins: a cached identity leaves them their unique-ids', async () => {
  const twin = message('twin');
  const spool = spoolWith(twin + message(1) + twin + twin);
  await sleep(SETTLED);
  const { ids } = await session(spool);
  await update(spool, [1]);
  expect((await session(spool)).ids).toEqual(ids.slice(1));
  expect((await truth(spool)).ids).toEqual(ids.slice(1));
});

test('below the least size, or without a cache, nothing is kept; a read-only server keeps one', async () => {
  const spool = spoolWith(messages(3).join(''));
  await sleep(SETTLED);
  await session(spool, { indexCache: spool.content().length + 1 });
  await session(spool, {});
  expect(existsSync(cachePath(spool))).toBe(false);
  await session(spool, { indexCache: spool.content().length, readOnly: true });
  expect(lstatSync(cachePath(spool)).mode & 0o777).toBe(0o600);
  expect(lstatSync(join(spool.stateDir, 'alice')).mode & 0o777).toBe(0o700);
  // What has become too small for it is forgotten.
  await update(spool, [1], { indexCache: spool.content().length });
  expect(existsSync(cachePath(spool))).toBe(false);
});

test('who deletes many has the mailbox indexed once, not each message proved', async () => {
  const spool = await warmSpool(400);
  const io = meteredIo();
  const maildrop = await openAlice(spool, { ...CACHED, io });
  for (let n = 1; n < 400; n++) await maildrop.mark(n);
  // Each once to be digested, all once to be indexed, and a tenth for the few proofs before that; with 399 a third.
  expect(io.readOf('/spool/alice')).toBeLessThan(2.2 * spool.content().length);
  await maildrop.update();
  await maildrop.release();
  const { octets, ids } = await truth(spool);
  expect(octets).toHaveLength(1);
  expect(await session(spool)).toMatchObject({ octets, ids });
});

test('what was read is written once: a session that learns nothing writes nothing', async () => {
  const spool = await warmSpool();
  const before = statSync(cachePath(spool), { bigint: true });
  await session(spool);
  expect(statSync(cachePath(spool), { bigint: true }).ino).toBe(before.ino);
});

test('torn anywhere: the mailbox is read', async () => {
  const spool = await warmSpool();
  const whole = readFileSync(cachePath(spool));
  const told = await truth(spool);
  for (let cut = 0; cut < whole.length; cut += 17) {
    writeFileSync(cachePath(spool), whole.subarray(0, cut));
    expect(decodeIndex(readFileSync(cachePath(spool)))).toBeUndefined();
    if (cut % 5 === 0) expect(await session(spool)).toEqual(told);
  }
  for (const octets of [Buffer.alloc(whole.length), Buffer.concat([whole, whole]), Buffer.from('x')]) {
    writeFileSync(cachePath(spool), octets);
    expect(await session(spool)).toEqual(told);
  }
});

test('every octet of it changed, one after the other: it is no index', async () => {
  const spool = await warmSpool();
  const whole = readFileSync(cachePath(spool));
  for (let at = 0; at < whole.length; at++) {
    for (const flip of [0x01, 0x80, 0xff]) {
      const octets = Buffer.alloc(whole.length);
      octets.set(whole);
      octets[at]! ^= flip;
      expect(decodeIndex(octets)).toBeUndefined();
    }
  }
});

test.each<[string, (path: string) => void]>([
  ['a symbolic link', path => symlinkSync('/etc/passwd', path)],
  ['a FIFO', path => execFileSync('mkfifo', [path])],
  ['a directory', path => mkdirSync(path)],
  ['another kind of file', path => writeFileSync(path, 'From me\n')],
  ['a huge sparse file', path => execFileSync('truncate', ['-s', '1T', path])],
])('%s in its place', async (_, make) => {
  const spool = await warmSpool(4);
  rmSync(cachePath(spool));
  make(cachePath(spool));
  make(`${cachePath(spool)}.new`);
  expect(await session(spool)).toEqual(await truth(spool));
  expect(await session(spool)).toEqual(await truth(spool));
});

test('one that others may write, or that has another name, is not believed', async () => {
  const spool = await warmSpool(4);
  const io = meteredIo();
  chmodSync(cachePath(spool), 0o666);
  await (await openAlice(spool, { ...CACHED, io })).release();
  expect(io.readOf('/spool/alice')).toBe(spool.content().length);
  linkSync(cachePath(spool), join(spool.stateDir, 'other-name'));
  await (await openAlice(spool, { ...CACHED, io })).release();
  expect(io.readOf('/spool/alice')).toBe(spool.content().length);
});

test('that of another mailbox, of another version, or of the future: the mailbox is read', async () => {
  const spool = await warmSpool(4);
  const whole = readFileSync(cachePath(spool));
  const kept = decodeIndex(whole)!;
  const older = Buffer.from(whole);
  older.writeUInt32LE(0, 16);
  const other = await warmSpool(4);
  for (const octets of [
    older,
    readFileSync(cachePath(other)),
    encodeIndex({ ...kept, seenAt: Date.now() + 86_400_000 }),
    encodeIndex({ ...kept, stat: { ...kept.stat, ctimeNs: kept.stat.ctimeNs + 1n } }),
  ]) {
    writeFileSync(cachePath(spool), octets);
    const io = meteredIo();
    await (await openAlice(spool, { ...CACHED, io })).release();
    expect(io.readOf('/spool/alice')).toBe(spool.content().length);
  }
  expect(await session(spool)).toEqual(await truth(spool));
});

test('one whose own times lie in the future is as good as any', async () => {
  const spool = await warmSpool(4);
  utimesSync(cachePath(spool), 4e9, 4e9);
  const io = meteredIo();
  await (await openAlice(spool, { ...CACHED, io })).release();
  expect(io.readOf('/spool/alice')).toBe(0);
});

test.each(['open', 'close', 'read', 'write', 'fstat', 'rename', 'unlink', 'mkdir'] as const)(
  '%s fails for it: a session does not notice',
  async call => {
    for (const code of ['ENOSPC', 'EIO']) {
      const spool = spoolWith(messages(6).join(''));
      const told = await truth(spool);
      const fail = (name: keyof SpoolIo, path: string) =>
        name === call && (/\/index(\.new)?$/.test(path) || name === 'mkdir') ? code : undefined;
      const io = meteredIo(fail);
      expect(await session(spool, { ...CACHED, io })).toEqual(told);
      await session(spool);
      appendFileSync(spool.mailbox, message(7));
      const more = await truth(spool);
      expect(await session(spool, { ...CACHED, io })).toEqual(more);
      if (call === 'mkdir') continue;
      await update(spool, [2], { ...CACHED, io });
      expect(spool.content()).toBe([...messages(6), message(7)].filter((_, i) => i !== 1).join(''));
      expect(await session(spool)).toEqual(await truth(spool));
      expect(readdirSync(spool.dir)).toEqual(['alice']);
    }
  },
);

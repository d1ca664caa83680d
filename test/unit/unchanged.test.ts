/** What a process remembers between sessions of small mailboxes, and of journals: while they are what they were, and no longer. */
import {
  appendFileSync,
  openSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { createLog } from '../../lib/log.js';
import type { FileStat } from '../../lib/maildrop/io.js';
import type { Spool as MailSpool } from '../../lib/maildrop/open.js';
import { Unchanged } from '../../lib/maildrop/unchanged.js';
import type { Maildrop } from '../../lib/pop3/ports.js';
import { BUSY, message, messages, type Spool, spoolWith } from '../support/mailbox.js';
import { mailSpool, openAlice, PEER } from '../support/maildrop.js';
import { collect } from '../support/message-reader.js';
import { meteredIo } from '../support/metered-io.js';

/** Longer than the clock of any file system takes to tick. */
const SETTLED = 30;
/** A mailbox of tests is smaller than what is kept in a file. */
const SMALL = { indexCache: 256 * 1024 };

const STAT: FileStat = {
  ...{ dev: 1n, ino: 2n, nlink: 1, uid: 3, gid: 4, mode: 0o600, kind: 'file', size: 5 },
  ...{ atimeNs: 0n, mtimeNs: 1_000_000_000_000_000_001n, ctimeNs: 1_000_000_000_000_000_002n },
};
const CHANGED = 1_000_000_000_000;
const LATER = CHANGED + 1000;

describe('what was read in a file', () => {
  test.each<[string, Partial<FileStat>]>([
    ['another device', { dev: 9n }],
    ['another inode', { ino: 9n }],
    ['another size', { size: 9 }],
    ['another mtime', { mtimeNs: STAT.mtimeNs + 1n }],
    ['another ctime', { ctimeNs: STAT.ctimeNs + 1n }],
  ])('is known while it is the same: not with %s', (_, other) => {
    const known = new Unchanged<string>(100);
    known.remember('/a', STAT, LATER, 'value', 1);
    expect(known.recall('/a', STAT)).toBe('value');
    expect(known.recall('/a', { ...STAT, ...other })).toBe(undefined);
    expect(known.recall('/b', STAT)).toBe(undefined);
    known.forget('/a');
    expect([known.recall('/a', STAT), known.octets]).toEqual([undefined, 0]);
  });

  test('is not remembered in the tick in which it was changed, nor believed by a clock that was set back', () => {
    const known = new Unchanged<string>(100);
    known.remember('/a', STAT, CHANGED + 10, 'early', 1);
    expect(known.recall('/a', STAT)).toBe(undefined);
    known.remember('/a', STAT, Date.now() + 60_000, 'of the future', 1);
    expect(known.recall('/a', STAT)).toBe(undefined);
  });

  test('takes a bounded place: who came first goes first', () => {
    const known = new Unchanged<number>(100);
    for (let n = 0; n < 30; n++) known.remember(`/${n}`, STAT, LATER, n, 10);
    expect(known.octets).toBe(100);
    expect([19, 20, 29].map(n => known.recall(`/${n}`, STAT))).toEqual([undefined, 20, 29]);
    known.remember('/large', STAT, LATER, 0, 101);
    expect([known.recall('/large', STAT), known.octets]).toEqual([undefined, 100]);
  });
});

const open = (spool: MailSpool) => spool.open({ user: 'alice' }, PEER, BUSY);

async function answersOf(maildrop: Maildrop, withTexts = true): Promise<unknown> {
  try {
    const numbers = Array.from({ length: maildrop.messages }, (_, i) => i + 1);
    const ids = await maildrop.uniqueIds();
    const texts: string[] = [];
    if (withTexts) for (const n of numbers) texts.push(await collect(maildrop.retrieve(n)));
    return { octets: numbers.map(n => maildrop.octets(n)), ids, texts };
  } finally {
    await maildrop.release();
  }
}

/** What a process says that knows nothing. */
const truth = async (spool: Spool, withTexts = true) => answersOf(await openAlice(spool), withTexts);

describe('a small mailbox', () => {
  test('that did not change is not read by the next session, not for its unique-ids, either', async () => {
    const spool = spoolWith(messages(5).join(''));
    await sleep(SETTLED);
    const io = meteredIo();
    const server = await mailSpool(spool, { ...SMALL, io });
    const first = await answersOf(await open(server), false);
    expect(io.readOf('/alice')).toBeGreaterThan(0);
    expect(await answersOf(await open(server), false)).toEqual(first);
    expect(io.readOf('/alice')).toBe(0);
    expect(await answersOf(await open(server))).toEqual(await truth(spool));
  });

  test('is read by each session where no index is to be kept', async () => {
    const spool = spoolWith(messages(5).join(''));
    await sleep(SETTLED);
    const io = meteredIo();
    const server = await mailSpool(spool, { io });
    for (let n = 0; n < 2; n++) {
      await (await open(server)).release();
      expect(io.readOf('/alice')).toBeGreaterThan(0);
    }
  });

  test.each<[string, (spool: Spool) => void]>([
    ['mail has come', spool => appendFileSync(spool.mailbox, message('new'))],
    ['it was rewritten', spool => writeFileSync(spool.mailbox, messages(4).reverse().join(''))],
    ['a message was exchanged for one of the same size, and the times set back', exchange],
  ])('is read again when %s', async (_, meddle) => {
    const spool = spoolWith(messages(5).join(''));
    utimesSync(spool.mailbox, 1e9, 1e9);
    await sleep(SETTLED);
    const server = await mailSpool(spool, SMALL);
    await answersOf(await open(server));
    meddle(spool);
    expect(await answersOf(await open(server))).toEqual(await truth(spool));
  });

  test('loses what is deleted, and no more', async () => {
    const all = messages(5);
    const spool = spoolWith(all.join(''));
    await sleep(SETTLED);
    const server = await mailSpool(spool, SMALL);
    await answersOf(await open(server));
    const maildrop = await open(server);
    await maildrop.mark(2);
    await maildrop.update();
    expect(spool.content()).toBe(all.filter((_, n) => n !== 1).join(''));
    expect(await answersOf(await open(server))).toEqual(await truth(spool));
  });
});

function exchange(spool: Spool): void {
  const { size } = statSync(spool.mailbox);
  const at = readFileSync(spool.mailbox, 'latin1').indexOf('<3@example.com>');
  writeSync(openSync(spool.mailbox, 'r+'), '<X@example.com>', at, 'latin1');
  utimesSync(spool.mailbox, 1e9, 1e9);
  expect(statSync(spool.mailbox).size).toBe(size);
}

describe('a journal', () => {
  /** A server of which both journals are known to say nothing, what it opens of them, and what it logs. */
  async function withJournals(): Promise<{
    spool: Spool;
    server: MailSpool;
    opened: string[];
    log: string[];
  }> {
    const spool = spoolWith(messages(3).join(''));
    const opened: string[] = [];
    const log: string[] = [];
    const io = meteredIo((call, path) => {
      if (call === 'open' && basename(path).startsWith('journal')) opened.push(basename(path));
      return undefined;
    });
    const server = await mailSpool(spool, { ...SMALL, io, log: createLog(line => log.push(line)) });
    await (await open(server)).release();
    await sleep(SETTLED);
    await (await open(server)).release();
    opened.length = 0;
    log.length = 0;
    return { spool, server, opened, log };
  }

  test('in which nothing was found is not opened by the next session', async () => {
    const { server, opened, log } = await withJournals();
    await (await open(server)).release();
    expect([opened, log]).toEqual([[], []]);
  });

  test.each(['journal', 'journal.plan'])('%s that says something is found, whoever wrote it', async name => {
    const { spool, server, log } = await withJournals();
    const fd = openSync(join(spool.stateDir, 'alice', name), 'r+');
    writeSync(fd, 'This is no journal.\n', 0, 'latin1');
    await (await open(server)).release();
    expect(log.join('')).toMatch(new RegExp(` journal-set-aside user=alice path=\\S+/${name}\\.torn `));
    log.length = 0;
    await (await open(server)).release();
    expect(log).toEqual([]);
  });
});

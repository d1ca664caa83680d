/**
 * One delivery to one mailbox file, by real files and locks: what it writes, and that whatever goes wrong
 * on the way, the mailbox is as it was, or has the message whole, and nobody else's mail is touched.
 */
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Unavailable } from '../../lib/errors.js';
import { nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';
import { deliverAlice, FROM_LINE, failure, meddledIo } from '../support/appending.js';
import { message, type Spool, spoolWith } from '../support/mailbox.js';
import { openAlice } from '../support/maildrop.js';

const PIECES = ['Subject: new\n\n', `${'text\n'.repeat(100)}`, 'the end\n\n'];
const NEW = FROM_LINE + PIECES.join('');
const OLD = message(1) + message(2);

/** Names in the spool besides the mailbox. */
const beside = (spool: Spool) => readdirSync(spool.dir).filter(name => name !== 'alice');

async function messagesOf(spool: Spool): Promise<number> {
  const maildrop = await openAlice(spool);
  const { messages } = maildrop;
  await maildrop.release();
  return messages;
}

test.each([
  ['', '', 0],
  ['\n', '', 0],
  ['\r\n', '', 0],
  [OLD, '', 2],
  [OLD.slice(0, -1), '\n', 2],
  [OLD.slice(0, -2), '\n\n', 2],
  [OLD.replaceAll('\n', '\r\n'), '', 2],
  [OLD.slice(0, -1).replaceAll('\n', '\r\n'), '\n', 2],
  [`${FROM_LINE.slice(0, -1)}`, '\n\n', 1],
  [`${OLD}From bob@example.net Mon Jan  5 10:00:00 2026\nSub`, '\n\n', 3],
])('after %j comes %j, so that the message is one of its own', async (before, gap, count) => {
  const spool = spoolWith(before);
  expect(await deliverAlice(spool, PIECES)).toBe(gap.length + NEW.length);
  expect(spool.content()).toBe(before + gap + NEW);
  expect(await messagesOf(spool)).toBe(count + 1);
  expect(beside(spool)).toEqual([]);
});

test('a mailbox that is not there is made, for its owner alone', async () => {
  const spool = spoolWith(undefined);
  await deliverAlice(spool, PIECES);
  expect(spool.content()).toBe(NEW);
  expect(statSync(spool.mailbox).mode & 0o777).toBe(0o600);
});

test('a mailbox is never made for somebody else', async () => {
  const spool = spoolWith(undefined);
  const delivery = deliverAlice(spool, PIECES, { owner: 54321 });
  await expect(delivery).rejects.toMatchObject({ code: 'SYS/PERM' });
  expect(readdirSync(spool.dir)).toEqual([]);
});

test.each([
  'Subject: no From_ line\n',
  'From here on\n',
  '\n\nx\n',
  '\rFrom',
  `${'\n'.repeat(5000)}x`,
  'x'.repeat(9000),
])('a file that begins with %j is no mailbox, and is left alone', async content => {
  const spool = spoolWith(content);
  const delivery = deliverAlice(spool, PIECES);
  await expect(delivery).rejects.toMatchObject({ code: 'SYS/PERM', message: /not in mbox format/ });
  expect(spool.content()).toBe(content);
  expect(beside(spool)).toEqual([]);
});

test('empty lines in front of the first From_ line do not matter', async () => {
  const before = '\n'.repeat(4090) + OLD;
  const spool = spoolWith(before);
  await deliverAlice(spool, PIECES);
  expect(spool.content()).toBe(before + NEW);
});

test.each<[string, (spool: Spool) => void]>([
  ['a symbolic link', ({ dir, mailbox }) => symlinkSync(join(dir, 'target'), mailbox)],
  ['a hard link', ({ dir, mailbox }) => linkSync(join(dir, 'target'), mailbox)],
  ['a directory', ({ mailbox }) => mkdirSync(mailbox)],
])('%s is never delivered to', async (_what, make) => {
  const spool = spoolWith(undefined);
  const target = join(spool.dir, 'target');
  writeFileSync(target, OLD);
  make(spool);
  await expect(deliverAlice(spool, PIECES)).rejects.toMatchObject({ code: 'SYS/PERM' });
  expect(statSync(target).size).toBe(OLD.length);
});

test('a locked mailbox is not delivered to', async () => {
  const spool = spoolWith(OLD);
  writeFileSync(`${spool.mailbox}.lock`, '1\n');
  await expect(deliverAlice(spool, PIECES)).rejects.toMatchObject({ code: 'IN-USE' });
  expect(spool.content()).toBe(OLD);
  expect(beside(spool)).toEqual(['alice.lock']);
});

test('new mail looks new, also where the mailbox was read this very second', async () => {
  const spool = spoolWith(OLD);
  const later = Date.now() / 1000 + 100;
  utimesSync(spool.mailbox, later, later);
  await deliverAlice(spool, PIECES);
  const { atimeMs, mtimeMs } = statSync(spool.mailbox);
  expect(Math.floor(atimeMs / 1000)).toBeLessThan(Math.floor(mtimeMs / 1000));
});

const CODES = ['EIO', 'ENOSPC', 'EDQUOT', 'EFBIG', 'EACCES'];

test.each(CODES)(
  'every call failing in turn with %s: the mailbox is as it was, or has it all',
  async code => {
    let [failed, delivered] = [0, 0];
    for (let fatal = 1; ; fatal++) {
      const spool = spoolWith(OLD);
      let reached = false;
      const io = meddledIo(({ number }) => {
        if (number !== fatal) return;
        reached = true;
        throw failure(code);
      });
      const error = await deliverAlice(spool, PIECES, { io }).then(
        () => undefined,
        cause => cause,
      );
      if (!reached) break;
      if (error === undefined) delivered++;
      else failed++;
      expect(spool.content(), `call ${fatal}`).toBe(error === undefined ? OLD + NEW : OLD);
      expect(beside(spool), `call ${fatal}`).toEqual([]);
    }
    // Closing, and what only the owner of a directory may do, fails without harm.
    expect(failed).toBeGreaterThan(12);
    expect(delivered).toBeLessThan(6);
  },
);

test('a disk that takes a little each time, and then nothing', async () => {
  for (let room = 0; room <= NEW.length; room += 13) {
    const spool = spoolWith(OLD);
    let left = room;
    const io: SpoolIo = {
      ...nodeIo,
      write: async (fd, from, position) => {
        if (left === 0) throw failure('ENOSPC');
        const count = await nodeIo.write(fd, from.subarray(0, Math.min(left, 7)), position);
        left -= count;
        return count;
      },
    };
    const done = await deliverAlice(spool, PIECES, { io }).then(
      () => true,
      () => false,
    );
    expect(spool.content()).toBe(done ? OLD + NEW : OLD);
    expect(done).toBe(room >= NEW.length);
  }
});

test('a disk that does not even take the cut back: it says where a part is left', async () => {
  const spool = spoolWith(OLD);
  const io = meddledIo(({ name }) => {
    if (name === 'sync' || name === 'truncate') throw failure('EIO');
  });
  await expect(deliverAlice(spool, PIECES, { io })).rejects.toThrow(`left at offset ${OLD.length}`);
});

test('given up between two pieces, the mailbox is cut back', async () => {
  const spool = spoolWith(OLD);
  let asked = 0;
  const stop = () => {
    if (++asked === 3) throw new Error('interrupted');
  };
  await expect(deliverAlice(spool, PIECES, { stop })).rejects.toThrow('interrupted');
  expect(asked).toBe(3);
  expect(spool.content()).toBe(OLD);
  expect(beside(spool)).toEqual([]);
});

test('a lock broken in the middle: what another agent has delivered meanwhile stays', async () => {
  const spool = spoolWith(OLD);
  let asked = 0;
  const stop = () => {
    if (++asked !== 2) return;
    unlinkSync(`${spool.mailbox}.lock`);
    appendFileSync(spool.mailbox, message('other'));
  };
  await expect(deliverAlice(spool, PIECES, { stop })).rejects.toThrow('a part of the message is left');
  expect(spool.content()).toBe(OLD + FROM_LINE + PIECES[0] + message('other'));
});

test('another agent that does not lock at all loses nothing either', async () => {
  const spool = spoolWith(OLD);
  let writes = 0;
  const io: SpoolIo = {
    ...nodeIo,
    write: (fd, from, position) => {
      // Between our last look at the file and the write itself.
      if (++writes === 2) appendFileSync(spool.mailbox, message('other'));
      return nodeIo.write(fd, from, position);
    },
  };
  await expect(deliverAlice(spool, PIECES, { io })).rejects.toThrow('a part of the message is left');
  expect(spool.content()).toContain(message('other'));
});

test('a mailbox cut short by another program is not made longer again', async () => {
  const spool = spoolWith(OLD);
  let asked = 0;
  const stop = () => {
    if (++asked === 2) truncateSync(spool.mailbox, 10);
  };
  await expect(deliverAlice(spool, PIECES, { stop })).rejects.toBeInstanceOf(Unavailable);
  expect(statSync(spool.mailbox).size).toBe(10);
});

test('a mailbox replaced by another program: an error, and the new one untouched', async () => {
  const spool = spoolWith(OLD);
  const stop = () => {
    writeFileSync(`${spool.mailbox}.new`, OLD, { mode: 0o600 });
    renameSync(`${spool.mailbox}.new`, spool.mailbox);
  };
  await expect(deliverAlice(spool, PIECES, { stop })).rejects.toMatchObject({ code: 'SYS/TEMP' });
  expect(spool.content()).toBe(OLD);
});

/** A spool where an UPDATE that deletes the first message was interrupted after its journal was committed. */
async function interrupted(): Promise<Spool> {
  const spool = spoolWith(OLD);
  let mailboxFd: number | undefined;
  const io: SpoolIo = {
    ...nodeIo,
    open: async (path, flags, mode) => {
      const fd = await nodeIo.open(path, flags, mode);
      if (path === spool.mailbox) mailboxFd = fd;
      return fd;
    },
    write: async (fd, from, position) => {
      if (fd === mailboxFd) throw failure('EIO');
      return nodeIo.write(fd, from, position);
    },
  };
  const maildrop = await openAlice(spool, { io });
  await maildrop.mark(1);
  await expect(maildrop.update()).rejects.toBeInstanceOf(Unavailable);
  await maildrop.release();
  expect(statSync(join(spool.stateDir, 'alice/journal')).size).toBeGreaterThan(0);
  return spool;
}

test('an interrupted update is finished before anything is appended', async () => {
  const spool = await interrupted();
  await deliverAlice(spool, PIECES);
  expect(spool.content()).toBe(message(2) + NEW);
  expect(statSync(join(spool.stateDir, 'alice/journal')).size).toBe(0);
});

test('a journal out of reach: it is appended all the same, and kept by whoever recovers', async () => {
  const spool = await interrupted();
  const io: SpoolIo = {
    ...nodeIo,
    open: (path, flags, mode) =>
      path.includes('/state/') ? Promise.reject(failure('EACCES')) : nodeIo.open(path, flags, mode),
  };
  const before = spool.content();
  // Nobody can tell that it is nobody's: not before it is old.
  await expect(deliverAlice(spool, PIECES, { io })).rejects.toMatchObject({ code: 'IN-USE' });
  unlinkSync(`${spool.mailbox}.lock`);
  await deliverAlice(spool, PIECES, { io });
  expect(spool.content()).toBe(before + NEW);
  expect(await messagesOf(spool)).toBe(2);
  expect(spool.content()).toBe(message(2) + NEW);
});

test('an interrupted update of which a session has the lock is left to that session', async () => {
  const spool = await interrupted();
  const before = spool.content();
  const taken = { tryRecoveryLock: () => undefined };
  await expect(deliverAlice(spool, PIECES, taken)).rejects.toMatchObject({ code: 'IN-USE' });
  unlinkSync(`${spool.mailbox}.lock`);
  await deliverAlice(spool, PIECES, taken);
  expect(spool.content()).toBe(before + NEW);
  expect(await messagesOf(spool)).toBe(2);
});

test('nor is the journal read that such a session may be writing', async () => {
  const spool = await interrupted();
  const read: string[] = [];
  const io: SpoolIo = {
    ...nodeIo,
    open: (path, flags, mode) => {
      if (path.includes('/state/')) read.push(path);
      return nodeIo.open(path, flags, mode);
    },
  };
  const taken = { io, tryRecoveryLock: () => undefined };
  await expect(deliverAlice(spool, PIECES, taken)).rejects.toMatchObject({ code: 'IN-USE' });
  expect(read).toEqual([]);
});

test('no state directory at all is no obstacle, and none is made', async () => {
  const spool = spoolWith(OLD);
  await deliverAlice(spool, PIECES, { stateDir: join(spool.dir, '../nowhere') });
  expect(spool.content()).toBe(OLD + NEW);
  expect(existsSync(join(spool.dir, '../nowhere'))).toBe(false);
});

test('a session that is open keeps its messages, and finds the new one next time', async () => {
  const spool = spoolWith(OLD);
  chmodSync(spool.mailbox, 0o600);
  const maildrop = await openAlice(spool, { lockYield: 0 });
  await deliverAlice(spool, PIECES);
  await maildrop.mark(2);
  await maildrop.update();
  expect(spool.content()).toBe(message(1) + NEW);
});

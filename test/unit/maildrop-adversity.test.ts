/**
 * The worst moment for each of our assumptions: a lock that is taken from us, a mailbox that is rewritten,
 * moved away or appended to, a disk that is full or fails, a journal whose name is gone. What went wrong
 * comes at one call of the I/O interface; then the mailbox must have every message once, octet for octet.
 */
import {
  appendFileSync,
  fstatSync,
  mkdirSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';
import { BUSY, message, type Spool, spoolWith } from '../support/mailbox.js';
import { mailSpool, openAlice, PEER } from '../support/maildrop.js';
import { chunksOf, collect } from '../support/message-reader.js';

/** Longer than what the killed write leaves, and of different lengths. */
const ALL = [1, 2, 3, 4].map(n =>
  message(n, `a line of message ${n}, and some more of it\n`.repeat(100 * n)),
);
const [M1, M2, M3, M4] = ALL as [string, string, string, string];
const OTHER = message('other');

/** Octets of the mailbox that a killed process had written. */
const WRITTEN = 8192;

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** The real disk, with other calls for the descriptors of one file. */
function ioOf(matches: (path: string) => boolean, calls: Partial<SpoolIo>): SpoolIo {
  const fds = new Set<number>();
  const io: SpoolIo = {
    ...nodeIo,
    open: async (path, flags, mode) => {
      const fd = await nodeIo.open(path, flags, mode);
      if (matches(path)) fds.add(fd);
      return fd;
    },
    close: fd => {
      fds.delete(fd);
      return nodeIo.close(fd);
    },
  };
  const chosen = (fd: number): SpoolIo => (fds.has(fd) ? { ...nodeIo, ...calls } : nodeIo);
  return {
    ...io,
    read: (fd, into, position) => chosen(fd).read(fd, into, position),
    write: (fd, from, position) => chosen(fd).write(fd, from, position),
    truncate: (fd, size) => chosen(fd).truncate(fd, size),
    sync: fd => chosen(fd).sync(fd),
  };
}

const mailboxOf = (spool: Spool) => (path: string) => path === spool.mailbox;
const isJournal = (path: string) => /\/journal(\.new)?$/.test(path);

/** Something that happens once, at the first call that says so. */
function once(happen: () => void): (now?: boolean) => void {
  let happened = false;
  return (now = true) => {
    if (!now || happened) return;
    happened = true;
    happen();
  };
}

/** Every write to the mailbox ends the process, with half of it done. */
function killedInRewrite(spool: Spool): SpoolIo {
  return ioOf(mailboxOf(spool), {
    write: async (fd, from, position) => {
      await nodeIo.write(fd, from.subarray(0, WRITTEN), position);
      throw new Error('killed');
    },
  });
}

/** A mailbox of ALL, left by an UPDATE that was killed while it removed the first. */
async function interrupted(): Promise<Spool> {
  const spool = spoolWith(ALL.join(''));
  const maildrop = await openAlice(spool, { io: killedInRewrite(spool) });
  await maildrop.mark(1);
  await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
  expect([ALL.join(''), M2 + M3 + M4]).not.toContain(spool.content());
  return spool;
}

/** The mailbox, left by an UPDATE by a plan that moved all, was to remove the second message, and was killed at the cut. */
async function interruptedAtCut(spool: Spool): Promise<string> {
  // The empty journal file of an UPDATE before.
  mkdirSync(join(spool.stateDir, 'alice'), { mode: 0o700 });
  writeFileSync(journalOf(spool), '', { mode: 0o600 });
  const journal = statSync(journalOf(spool)).ino;
  const mailbox = ioOf(mailboxOf(spool), { truncate: () => Promise.reject(new Error('killed')) });
  const write: SpoolIo['write'] = (fd, ...rest) =>
    fstatSync(fd).ino === journal ? Promise.reject(failure('ENOSPC')) : mailbox.write(fd, ...rest);
  const maildrop = await openAlice(spool, { io: { ...mailbox, write } });
  await maildrop.mark(2);
  await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
  return spool.content();
}

/** Another program leaves this of a half-done mailbox: it is told of, and left as it is. */
async function rewrittenBeforeCutIsTold(spool: Spool, rewritten: string): Promise<void> {
  writeFileSync(spool.mailbox, rewritten, 'latin1');
  const report = await (await mailSpool(spool)).recover({ user: 'alice' });
  const reason = 'the mailbox was rewritten by another program before it was cut';
  expect(report).toMatchObject({ did: 'set-aside', reason, salvaged: 0 });
  expect(spool.content()).toBe(rewritten);
}

async function logInAndOut(spool: Spool): Promise<number> {
  const maildrop = await openAlice(spool);
  await maildrop.release();
  return maildrop.messages;
}

const journalOf = (spool: Spool) => join(spool.stateDir, 'alice', 'journal');

describe('our dotlock is broken and the mailbox rewritten', () => {
  const rewritten = ALL.join('').replaceAll(/^Subject:/gm, 'Status: RO\nSubject:');

  test.each([
    ['grown, before the journal is committed', 1, 'journal', rewritten],
    ['grown, before a suffix is cut', 4, 'unique-ids', rewritten],
    ['a message less, before a suffix is cut', 4, 'unique-ids', M2 + M3 + M4],
  ])('%s: UPDATE says so, and nothing is lost, then or later', async (_, marked, file, content) => {
    const spool = spoolWith(ALL.join(''));
    let isUpdate = false;
    const rewrite = once(() => {
      unlinkSync(`${spool.mailbox}.lock`);
      writeFileSync(spool.mailbox, content);
    });
    const io = ioOf(isJournal, {
      write: (...args) => {
        rewrite(isUpdate && file === 'journal');
        return nodeIo.write(...args);
      },
    });
    const open: SpoolIo['open'] = (path, ...args) => {
      rewrite(isUpdate && path.endsWith(file));
      return io.open(path, ...args);
    };
    const maildrop = await openAlice(spool, { io: { ...io, open } });
    await maildrop.mark(marked);
    isUpdate = true;
    await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
    expect(spool.content()).toBe(content);
    await logInAndOut(spool);
    expect(spool.content()).toBe(content);
  });

  test.each([false, true])(
    'in the fsync(2) of the journal: nothing is written, now or later (after another UPDATE: %s)',
    async again => {
      const spool = spoolWith(again ? OTHER + ALL.join('') : ALL.join(''));
      if (again) {
        const before = await openAlice(spool);
        await before.mark(1);
        await before.update();
      }
      // As by a mail reader: message 3 was deleted there.
      const rewritten = ALL[0] + M2 + M4;
      let updating = false;
      const happen = once(() => {
        unlinkSync(`${spool.mailbox}.lock`);
        writeFileSync(spool.mailbox, rewritten, 'latin1');
      });
      const io = ioOf(isJournal, {
        sync: async fd => {
          await nodeIo.sync(fd);
          happen(updating);
        },
      });
      const maildrop = await openAlice(spool, { io });
      await maildrop.mark(1);
      updating = true;
      await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
      expect(spool.content()).toBe(rewritten);
      expect(await logInAndOut(spool)).toBe(3);
      expect(spool.content()).toBe(rewritten);
    },
  );

  test('in the middle of the rewrite: not an octet more is written, and nothing is lost', async () => {
    const large = [1, 2, 3].map(n => message(n, `a line of message ${n}\n`.repeat(60_000)));
    const spool = spoolWith(large.join(''));
    let found = '';
    const happen = once(() => {
      unlinkSync(`${spool.mailbox}.lock`);
      writeFileSync(spool.mailbox, OTHER);
      found = spool.content();
    });
    const io = ioOf(mailboxOf(spool), {
      write: async (fd, from, position) => {
        const count = await nodeIo.write(fd, from, position);
        happen();
        return count;
      },
    });
    const maildrop = await openAlice(spool, { io });
    await maildrop.mark(1);
    await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
    expect(spool.content()).toBe(found);
    // What the other program could not see any more was in our journal.
    expect(await logInAndOut(spool)).toBe(3);
    expect(spool.content()).toBe(OTHER + large[1] + large[2]);
  });

  test('between two steps of a plan: it vouches for nothing that the other program wrote', async () => {
    const large = [1, 2, 3, 4, 5].map(n => message(n, `a line of message ${n}\n`.repeat(3000)));
    const spool = spoolWith(large.join(''));
    let found = '';
    const happen = once(() => {
      unlinkSync(`${spool.mailbox}.lock`);
      // Grown, in front of another message that is to be deleted, and behind what was moved so far.
      writeFileSync(spool.mailbox, spool.content().replace('Subject: message 3', 'Status: RO\n$&'));
      found = spool.content();
    });
    const { ino } = statSync(spool.mailbox);
    let updating = false;
    const io = ioOf(path => path === spool.mailbox || isJournal(path), {
      write: async (fd, from, position) => {
        if (updating && fstatSync(fd).ino !== ino) throw failure('ENOSPC');
        return nodeIo.write(fd, from, position);
      },
      sync: async fd => {
        await nodeIo.sync(fd);
        happen(updating && fstatSync(fd).ino === ino);
      },
    });
    const maildrop = await openAlice(spool, { io });
    await maildrop.mark(1);
    await maildrop.mark(4);
    updating = true;
    await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
    expect(spool.content()).toBe(found);
    await logInAndOut(spool);
    expect(spool.content()).toBe(found);
  });

  test('RETR does not answer for another message', async () => {
    const equal = [1, 2, 3].map(n => message(n));
    const spool = spoolWith(equal.join(''));
    const maildrop = await openAlice(spool);
    unlinkSync(`${spool.mailbox}.lock`);
    writeFileSync(spool.mailbox, equal.slice(1).join(''));
    await expect(collect(maildrop.retrieve(2))).rejects.toMatchObject({ code: 'SYS/TEMP', fatal: true });
    await maildrop.release();
  });
});

test('a rewrite that grows the mailbox in the middle of a RETR ends the session', async () => {
  const body = Array.from({ length: 20_000 }, (_, i) => `${1_000_000_000 + i}\n`).join('');
  const content = message(1) + message(2, body);
  const spool = spoolWith(content);
  const maildrop = await openAlice(spool, { lockYield: 0 });
  const chunks = chunksOf(maildrop.retrieve(2));
  await chunks.next();
  writeFileSync(spool.mailbox, content.replace('Subject: message 1', 'Status: RO\nSubject: message 1'));
  const rest = async () => {
    for (let next = await chunks.next(); !next.done; next = await chunks.next());
  };
  await expect(rest()).rejects.toMatchObject({ code: 'SYS/TEMP', fatal: true });
  await maildrop.release();
});

describe('an interrupted UPDATE while', () => {
  test.each(['recover', 'a login'])('the mailbox file is away, %s: finished when it is back', async how => {
    const spool = await interrupted();
    renameSync(spool.mailbox, `${spool.dir}.away`);
    if (how === 'recover') {
      const report = await (await mailSpool(spool)).recover({ user: 'alice' });
      expect(report).toMatchObject({ did: 'kept', path: journalOf(spool) });
    } else expect(await logInAndOut(spool)).toBe(0);
    renameSync(`${spool.dir}.away`, spool.mailbox);
    expect(await logInAndOut(spool)).toBe(3);
    expect(spool.content()).toBe(M2 + M3 + M4);
  });

  test('all was moved and nothing cut yet, a message is taken out by another program: it is told', async () => {
    const spool = spoolWith(M1 + M2 + M3 + M4);
    const truncate: SpoolIo['truncate'] = (fd, size) =>
      size === 0 ? nodeIo.truncate(fd, size) : Promise.reject(new Error('killed'));
    const maildrop = await openAlice(spool, { io: { ...nodeIo, truncate } });
    await maildrop.mark(2);
    await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
    const halfDone = spool.content();
    expect(halfDone.startsWith(M1 + M3 + M4)).toBe(true);
    await rewrittenBeforeCutIsTold(spool, halfDone.slice(M1.length));
    expect(await logInAndOut(spool)).toBeGreaterThan(1);
  });

  test('by a plan, all was moved and nothing cut yet, a message is taken out: it is told', async () => {
    const spool = spoolWith(M1 + M2 + M3 + M4);
    const halfDone = await interruptedAtCut(spool);
    // What a plan clears before it cuts.
    expect(halfDone.startsWith(`${M1 + M3 + M4}\0`)).toBe(true);
    await rewrittenBeforeCutIsTold(spool, halfDone.slice(M1.length));
  });

  test('by a plan, all was moved and cut, and mail has come since: it is done', async () => {
    const spool = spoolWith(M1 + M2 + M3 + M4);
    await interruptedAtCut(spool);
    writeFileSync(spool.mailbox, M1 + M3 + M4 + OTHER, 'latin1');
    expect(await (await mailSpool(spool)).recover({ user: 'alice' })).toEqual({ did: 'finished' });
    expect(spool.content()).toBe(M1 + M3 + M4 + OTHER);
    expect(await logInAndOut(spool)).toBe(4);
  });

  test('the spool is not mounted: finished when it is', async () => {
    const spool = await interrupted();
    renameSync(spool.dir, `${spool.dir}.away`);
    const recovery = (await mailSpool(spool)).recover({ user: 'alice' });
    await expect(recovery).rejects.toMatchObject({ code: 'SYS/TEMP' });
    renameSync(`${spool.dir}.away`, spool.dir);
    expect(await logInAndOut(spool)).toBe(3);
    expect(spool.content()).toBe(M2 + M3 + M4);
  });

  test('the disk fails: the process is told to end', async () => {
    const spool = await interrupted();
    let told = 0;
    const io = { ...nodeIo, sync: () => Promise.reject(failure('EIO')) };
    const login = openAlice(spool, { io, onDiskFailure: () => told++ });
    await expect(login).rejects.toMatchObject({ code: 'SYS/TEMP' });
    expect(told).toBe(1);
    await logInAndOut(spool);
    expect(spool.content()).toBe(M2 + M3 + M4);
  });
});

describe('what an interrupted UPDATE kept is appended to a mailbox that was rewritten', () => {
  test('behind mail that comes meanwhile', async () => {
    const spool = await interrupted();
    writeFileSync(spool.mailbox, OTHER);
    const late = message('late');
    const comes = once(() => appendFileSync(spool.mailbox, late));
    const io = ioOf(mailboxOf(spool), {
      read: async (fd, into, position) => {
        const count = await nodeIo.read(fd, into, position);
        comes();
        return count;
      },
    });
    const maildrop = await openAlice(spool, { io });
    await maildrop.release();
    expect(spool.content()).toBe(OTHER + late + M2 + M3 + M4);
    expect(maildrop.messages).toBe(5);
  });

  test('once, however often the disk was full before', async () => {
    const spool = await interrupted();
    writeFileSync(spool.mailbox, OTHER);
    for (let login = 1; login <= 3; login++) {
      let left = 4096;
      const io = ioOf(mailboxOf(spool), {
        write: (fd, from, position) => {
          if (left === 0) throw failure('ENOSPC');
          const part = from.subarray(0, left);
          left -= part.length;
          return nodeIo.write(fd, part, position);
        },
      });
      await expect(openAlice(spool, { io })).rejects.toMatchObject({ code: 'SYS/TEMP' });
      expect(spool.content()).toBe(OTHER);
    }
    expect(await logInAndOut(spool)).toBe(4);
    expect(spool.content()).toBe(OTHER + M2 + M3 + M4);
  });

  test('but not when all was in the mailbox already: somebody deleted it there', async () => {
    const spool = spoolWith(ALL.join(''));
    const io = ioOf(isJournal, {
      truncate: (fd, size) => {
        if (size === 0 && fstatSync(fd).size > 0) throw new Error('killed');
        return nodeIo.truncate(fd, size);
      },
    });
    const maildrop = await openAlice(spool, { io });
    await maildrop.mark(1);
    await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
    expect(spool.content()).toBe(M2 + M3 + M4);
    writeFileSync(`${spool.mailbox}.new`, M2);
    renameSync(`${spool.mailbox}.new`, spool.mailbox);
    expect(await logInAndOut(spool)).toBe(1);
    expect(spool.content()).toBe(M2);
  });
});

test('a journal whose name was removed during the session is not written to', async () => {
  const spool = spoolWith(ALL.join(''));
  const first = await openAlice(spool);
  await first.mark(1);
  await first.update();
  const second = await openAlice(spool, { io: killedInRewrite(spool) });
  unlinkSync(journalOf(spool));
  await second.mark(1);
  await expect(second.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
  expect(await logInAndOut(spool)).toBe(2);
  expect(spool.content()).toBe(M3 + M4);
});

test('an owner that cannot be looked up once does not leave the maildrop locked', async () => {
  const spool = spoolWith(ALL.join(''));
  let looked = 0;
  const ownerOf = () => {
    if (looked++ === 0) throw failure('EIO');
    return process.geteuid!();
  };
  const mail = await mailSpool(spool, { ownerOf });
  const logIn = () => mail.open({ user: 'alice' }, PEER, BUSY);
  await expect(logIn()).rejects.toThrow('EIO');
  const maildrop = await logIn();
  expect(maildrop.messages).toBe(4);
  await maildrop.release();
});

describe('unique-ids of identical messages', () => {
  const twin = message('twin');

  async function uniqueIds(spool: Spool): Promise<readonly string[]> {
    const maildrop = await openAlice(spool);
    const ids = await maildrop.uniqueIds();
    await maildrop.release();
    return ids;
  }

  test('stay when an UPDATE fails', async () => {
    const spool = spoolWith(twin + twin + message('single'));
    const before = await uniqueIds(spool);
    const io = ioOf(isJournal, {
      write: async () => {
        throw failure('EIO');
      },
    });
    const maildrop = await openAlice(spool, { io });
    await maildrop.mark(1);
    await expect(maildrop.update()).rejects.toMatchObject({ code: 'SYS/TEMP' });
    expect(await uniqueIds(spool)).toEqual(before);
  });

  test('stay when the one that goes has other line ends', async () => {
    const spool = spoolWith(twin.replaceAll('\n', '\r\n') + twin + message('single'));
    const before = await uniqueIds(spool);
    const maildrop = await openAlice(spool);
    await maildrop.mark(1);
    await maildrop.update();
    expect(await uniqueIds(spool)).toEqual(before.slice(1));
  });
});

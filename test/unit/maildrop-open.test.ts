/** Opening a maildrop: what is accepted, what is refused, and that nothing in the spool is touched. */
import { execFileSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { Unavailable } from '../../lib/errors.js';
import { nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';
import { message, messages, type Spool, spoolWith } from '../support/mailbox.js';
import { openAlice, PEER } from '../support/maildrop.js';
import { collect } from '../support/message-reader.js';

async function refusal(spool: Spool, overrides = {}): Promise<Unavailable> {
  try {
    await (await openAlice(spool, overrides)).release();
  } catch (error) {
    if (error instanceof Unavailable) return error;
    throw error;
  }
  throw new Error('it was opened');
}

test('a missing mailbox file is an empty maildrop, and none is created', async () => {
  const spool = spoolWith(undefined);
  const maildrop = await openAlice(spool);
  expect(maildrop.messages).toBe(0);
  expect(await maildrop.uniqueIds()).toEqual([]);
  await maildrop.update();
  expect(readdirSync(spool.dir)).toEqual([]);
});

test('a missing spool is not an empty one: its file system may not be mounted', async () => {
  const spool = spoolWith(undefined);
  expect(await refusal({ ...spool, dir: `${spool.dir}-gone` })).toMatchObject({ code: 'SYS/TEMP' });
});

test('C23: a symbolic link, dangling or not, is refused', async () => {
  const spool = spoolWith(undefined);
  const other = join(spool.stateDir, 'other');
  writeFileSync(other, message(1));
  symlinkSync(other, spool.mailbox);
  expect(await refusal(spool)).toMatchObject({ code: 'SYS/PERM' });
  const dangling = spoolWith(undefined);
  symlinkSync('nowhere', dangling.mailbox);
  expect(await refusal(dangling)).toMatchObject({ code: 'SYS/PERM' });
  expect(existsSync(join(dangling.dir, 'nowhere'))).toBe(false);
});

test('C23: a hard link is refused', async () => {
  const spool = spoolWith(message(1));
  linkSync(spool.mailbox, join(spool.stateDir, 'second-name'));
  expect(await refusal(spool)).toMatchObject({ code: 'SYS/PERM' });
});

test('C23: a FIFO is refused without hanging', async () => {
  const spool = spoolWith(undefined);
  execFileSync('mkfifo', [spool.mailbox]);
  expect(await refusal(spool)).toMatchObject({ code: 'SYS/PERM' });
});

test('C23: a directory is refused', async () => {
  const spool = spoolWith(undefined);
  mkdirSync(spool.mailbox);
  expect(await refusal(spool)).toMatchObject({ code: 'SYS/PERM' });
});

test.skipIf(process.geteuid!() !== 0)('C23: a device is refused (root only)', async () => {
  const spool = spoolWith(undefined);
  execFileSync('mknod', [spool.mailbox, 'c', '1', '3']);
  expect(await refusal(spool)).toMatchObject({ code: 'SYS/PERM' });
});

test('C23: a file of another owner is refused', async () => {
  const spool = spoolWith(message(1));
  // The same from our side: somebody else is expected to own it.
  expect(await refusal(spool, { ownerOf: () => process.geteuid!() + 1 })).toMatchObject({ code: 'SYS/PERM' });
  if (process.geteuid!() !== 0) return;
  chownSync(spool.mailbox, 65534, 65534);
  expect(await refusal(spool)).toMatchObject({ code: 'SYS/PERM' });
});

test('a refused mailbox leaves no lock behind, neither on the spool nor on the session', async () => {
  const spool = spoolWith('This is no mailbox.\n');
  expect(await refusal(spool)).toMatchObject({
    code: 'SYS/PERM',
    message: 'mailbox file is not in mbox format',
  });
  expect(readdirSync(spool.dir)).toEqual(['alice']);
  expect(spool.content()).toBe('This is no mailbox.\n');
  writeFileSync(spool.mailbox, message(1));
  const maildrop = await openAlice(spool);
  expect(maildrop.messages).toBe(1);
  await maildrop.release();
});

test('an empty file is an empty maildrop', async () => {
  const spool = spoolWith('');
  const maildrop = await openAlice(spool);
  expect(maildrop.messages).toBe(0);
  await maildrop.update();
  expect(spool.content()).toBe('');
});

test('a second session is refused, and told since when and from where the first is', async () => {
  const spool = spoolWith(message(1));
  const first = await openAlice(spool);
  const error = await refusal(spool);
  expect(error.code).toBe('IN-USE');
  expect(error.message).toMatch(/in use by another POP3 session since 20[0-9T:.Z-]+ from 192\.0\.2\.7$/);
  expect(PEER.address).toBe('192.0.2.7');
  await first.release();
  await (await openAlice(spool)).release();
});

test('the session lock holds after the mailbox locks were yielded, and for a missing mailbox', async () => {
  for (const content of [message(1), undefined]) {
    const spool = spoolWith(content);
    const first = await openAlice(spool, { lockYield: 0 });
    expect(await refusal(spool)).toMatchObject({ code: 'IN-USE' });
    await first.release();
  }
});

test('the same mailbox by another spelling of the spool path is the same session lock', async () => {
  const spool = spoolWith(message(1));
  const alias = join(spool.stateDir, 'alias');
  symlinkSync(spool.dir, alias);
  const first = await openAlice(spool, { lockYield: 0 });
  expect(await refusal({ ...spool, dir: alias })).toMatchObject({ code: 'IN-USE' });
  await first.release();
});

test('reading leaves every time of the mailbox file alone', async () => {
  const spool = spoolWith(messages(20).join(''));
  const before = statSync(spool.mailbox, { bigint: true });
  const maildrop = await openAlice(spool);
  for (let n = 1; n <= 20; n++) {
    const text = await collect(maildrop.retrieve(n));
    expect(text.length).toBe(maildrop.octets(n));
  }
  await maildrop.uniqueIds();
  await maildrop.update();
  const after = statSync(spool.mailbox, { bigint: true });
  expect([after.mtimeNs, after.ctimeNs, after.atimeNs, after.ino]).toEqual([
    before.mtimeNs,
    before.ctimeNs,
    before.atimeNs,
    before.ino,
  ]);
});

test('RETR gives the octets of the file with CRLF line ends, TOP the beginning of them', async () => {
  const text = 'one\n.two\n\nthree\n';
  const spool = spoolWith(message(1, text));
  const maildrop = await openAlice(spool);
  const whole = await collect(maildrop.retrieve(1));
  const raw = readFileSync(spool.mailbox, 'latin1').split('\n').slice(1, -2).join('\r\n');
  expect(whole).toBe(`${raw}\r\n`);
  expect(await collect(maildrop.top(1, 2))).toBe(whole.slice(0, whole.indexOf('\r\n\r\nthree') + 2));
  expect(await collect(maildrop.top(1, 0))).toBe(whole.slice(0, whole.indexOf('one')));
  expect(await collect(maildrop.top(1, 99))).toBe(whole);
  await maildrop.release();
});

test('a journal that cannot be read: the other one is closed, and not while it is being read', async () => {
  const spool = spoolWith(messages(3).join(''));
  await (await openAlice(spool)).release();
  let plan: number | undefined;
  let reading = false;
  const closed: string[] = [];
  const io: SpoolIo = {
    ...nodeIo,
    open: async (path, flags, mode) => {
      if (basename(path) === 'journal') throw Object.assign(new Error('EIO'), { code: 'EIO' });
      const fd = await nodeIo.open(path, flags, mode);
      if (basename(path) === 'journal.plan') plan = fd;
      return fd;
    },
    read: async (fd, into, position) => {
      if (fd !== plan) return nodeIo.read(fd, into, position);
      reading = true;
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
      reading = false;
      return nodeIo.read(fd, into, position);
    },
    close: fd => {
      if (fd === plan) closed.push(reading ? 'early' : 'in time');
      return nodeIo.close(fd);
    },
  };
  expect(await refusal(spool, { io })).toMatchObject({ code: 'SYS/TEMP' });
  expect(closed).toEqual(['in time']);
});

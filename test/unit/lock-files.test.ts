// Lock files that are used again by the next lock of the process: as good as new ones, and gone soon after the last lock.
import fs, {
  closeSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import type { Host } from '../../lib/host/host.js';
import { loadHost } from '../../lib/host/load.js';
import { Dotlock } from '../../lib/maildrop/dotlock.js';
import { makerOf } from '../../lib/maildrop/lock-file.js';
import { scratchDir } from '../support/mailbox.js';

const USERS = ['alice', 'bob', 'carol', 'dave'] as const;
type User = (typeof USERS)[number];

let dir: string;
let lost: string[];
beforeEach(() => {
  dir = scratchDir();
  lost = [];
  for (const user of USERS) writeFileSync(join(dir, user), '');
});

afterEach(async () => {
  vi.useRealTimers();
  await expect.poll(spares, { timeout: 30_000 }).toEqual([]);
});

const lockOf = (user: User) => join(dir, `${user}.lock`);
const inodeOf = (user: User) => lstatSync(lockOf(user), { bigint: true }).ino;
const spares = () => readdirSync(dir).filter(name => name.startsWith('.'));

async function dotlock(user: User, mailboxFd?: number, instead: Partial<Host> = {}): Promise<Dotlock> {
  const host = { ...(await loadHost()).host, ...instead };
  return new Dotlock({
    mailboxPath: join(dir, user),
    mailboxFd,
    host,
    onLost: reason => lost.push(reason.message),
  });
}

async function locked(user: User): Promise<Dotlock> {
  const lock = await dotlock(user);
  expect(await lock.tryLock()).toBe(true);
  return lock;
}

/** With one lock that is held all the time, the file of another that was given back. */
async function withSpare(): Promise<{ held: Dotlock; ino: bigint; spare: string }> {
  const held = await locked('alice');
  const given = await locked('bob');
  const ino = inodeOf('bob');
  await given.unlock();
  expect(readdirSync(dir).includes('bob.lock')).toBe(false);
  const [name] = spares();
  expect(makerOf(name!, join(dir, 'bob'))).toBe(process.pid);
  return { held, ino, spare: join(dir, name!) };
}

test('a lock is made of the file of one that was given back, and looks as new', async () => {
  const { held, ino, spare } = await withSpare();
  utimesSync(spare, 1000, 1000); // It may lie there for long.
  const next = await locked('carol');
  expect(inodeOf('carol')).toBe(ino);
  expect(spares()).toEqual([]);
  const stat = lstatSync(lockOf('carol'));
  expect([stat.mode & 0o777, stat.nlink]).toEqual([0o644, 1]);
  expect(Math.abs(stat.mtimeMs - Date.now())).toBeLessThan(60_000);
  expect(readFileSync(lockOf('carol'), 'utf8')).toBe(`${process.pid}:${hostname()}\n`);
  expect(await (await dotlock('carol')).tryLock()).toBe(false);
  await next.unlock();
  await held.unlock();
  expect(readdirSync(dir).includes('carol.lock')).toBe(false);
  expect(lost).toEqual([]);
});

test('spares go soon after the last lock, which by itself leaves none; one that comes before uses them', async () => {
  const locks = await Promise.all(USERS.map(user => locked(user)));
  for (const lock of locks.slice(1)) await lock.unlock();
  // Of three, the last was given back beside one that is held.
  const three = spares();
  // Whether one comes before is for no clock to say.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  expect(three).toHaveLength(3);
  await locks[0]!.unlock();
  expect(spares()).toEqual(three);
  const next = await locked('bob');
  expect(spares()).toHaveLength(2);
  await next.unlock();
  expect(spares()).toHaveLength(2);
  vi.advanceTimersByTime(100);
  expect(readdirSync(dir).sort()).toEqual([...USERS]);
});

test("somebody else's lock is in the way of a spare as of any other file, which is kept", async () => {
  const { held } = await withSpare();
  writeFileSync(lockOf('carol'), '1:elsewhere\n');
  expect(await (await dotlock('carol')).tryLock()).toBe(false);
  expect(readFileSync(lockOf('carol'), 'utf8')).toBe('1:elsewhere\n');
  expect(spares()).toHaveLength(1);
  rmSync(lockOf('carol'));
  await (await locked('carol')).unlock();
  await held.unlock();
  await expect.poll(() => readdirSync(dir).sort(), { timeout: 30_000 }).toEqual([...USERS]);
});

test.each([
  ['has removed', (spare: string) => rmSync(spare)],
  ['has linked to', (spare: string) => linkSync(spare, join(dir, 'another'))],
])('a spare that somebody %s becomes no lock', async (_, meddle) => {
  const { held, spare } = await withSpare();
  meddle(spare);
  const next = await locked('carol');
  expect(lstatSync(lockOf('carol')).nlink).toBe(1);
  expect(spares()).toEqual([]);
  await next.unlock();
  await held.unlock();
  expect(readdirSync(dir).filter(name => name.endsWith('.lock'))).toEqual([]);
});

test('that of a lock which another program has broken is not used again, nor is its lock removed', async () => {
  const held = await locked('alice');
  const broken = await locked('bob');
  rmSync(lockOf('bob'));
  writeFileSync(lockOf('bob'), '1:elsewhere\n');
  await broken.unlock();
  expect(readFileSync(lockOf('bob'), 'utf8')).toBe('1:elsewhere\n');
  expect(spares()).toEqual([]);
  await held.unlock();
});

test('where the file system has another clock (NFS), a lock of another host is not older for a spare', async () => {
  const { held } = await withSpare();
  writeFileSync(lockOf('carol'), '4711:elsewhere.example.com\n');
  // Ten minutes ahead of it: twice what makes a lock stale.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 600_000 });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const fd = openSync(join(dir, 'carol'), 'r+');
  try {
    expect(await (await dotlock('carol', fd)).tryLock()).toBe(false);
  } finally {
    closeSync(fd);
  }
  expect(readFileSync(lockOf('carol'), 'utf8')).toBe('4711:elsewhere.example.com\n');
  await held.unlock();
});

test('where the disk fails as a lock is made, its file is closed once: the number may be another file by then', async () => {
  const { closeSync: close } = fs;
  const closed: number[] = [];
  onTestFinished(() => {
    Object.assign(fs, { closeSync: close });
    syncBuiltinESMExports();
  });
  Object.assign(fs, {
    closeSync: (fd: number) => {
      closed.push(fd);
      close(fd);
    },
  });
  syncBuiltinESMExports();
  const failing = await dotlock('carol', undefined, {
    statNamed: () => {
      throw Object.assign(new Error('EIO: i/o error, lstat'), { code: 'EIO' });
    },
  });
  await expect(failing.tryLock()).rejects.toThrow('EIO');
  expect(closed).toHaveLength(1);
});

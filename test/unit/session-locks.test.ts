// Session locks that share descriptors: between the sessions of one process, and between processes (each with files of its own).
import { mkdirSync, readdirSync, readlinkSync, renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { linuxHost } from '../../lib/host/linux.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { silentLog } from '../../lib/log.js';
import { LockedOctets, octetPlace } from '../../lib/maildrop/locked-octets.js';
import { openRecoveryLock } from '../../lib/maildrop/recovery-lock.js';
import { HostSessionLocks } from '../../lib/maildrop/session-lock.js';
import { Takeover } from '../../lib/maildrop/takeover.js';
import { BUSY, scratchDir } from '../support/mailbox.js';

/** Descriptors of this process that are open on files in a directory. */
const openIn = (dir: string) =>
  readdirSync('/proc/self/fd').filter(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(dir);
    } catch {
      return false; // The one that the directory itself was read by.
    }
  }).length;
const nameOf = (n: number) => n.toString(16).padStart(2, '0').padEnd(32, '0');

describe.each([
  ['native', () => linuxHost],
  ['portable', createPortableHost],
] as const)('%s host', (_, make) => {
  test('of one mailbox one session has the lock, in a process and between two', () => {
    const [host, dir] = [make(), scratchDir()];
    const [one, other] = [new LockedOctets(host, dir), new LockedOctets(host, dir)];
    const giveBack = one.tryLock(nameOf(1));
    expect(giveBack).toBeDefined();
    for (const locks of [one, other]) expect(locks.tryLock(nameOf(1))).toBeUndefined();
    // In the same file, at another octet.
    const neighbour = `${nameOf(1).slice(0, 16)}1`;
    expect(octetPlace(dir, neighbour).path).toBe(octetPlace(dir, nameOf(1)).path);
    const giveNeighbourBack = other.tryLock(neighbour);
    expect(giveNeighbourBack).toBeDefined();
    giveBack?.();
    const again = other.tryLock(nameOf(1));
    expect(again).toBeDefined();
    expect(one.tryLock(nameOf(1))).toBeUndefined();
    giveNeighbourBack?.();
    expect(one.tryLock(nameOf(1))).toBeUndefined();
    again?.();
    expect(openIn(dir)).toBe(0);
  });

  test('that one is given back leaves the others of its file', () => {
    const [host, dir] = [make(), scratchDir()];
    const [one, other] = [new LockedOctets(host, dir), new LockedOctets(host, dir)];
    const names = ['00', '01', '02'].map(tail => `07${'0'.repeat(13)}${tail}`.padEnd(32, '0'));
    const held = names.map(name => one.tryLock(name));
    held[1]?.();
    expect(names.map(name => other.tryLock(name) !== undefined)).toEqual([false, true, false]);
  });
});

test.each([
  ['one for each user', true],
  ['one for all', false],
])('who finishes an interrupted update keeps others out, and is kept out: %s', (_, perUser) => {
  const dir = scratchDir();
  const deps = { host: linuxHost, dir, perUser };
  const tryLock = () => openRecoveryLock(deps, '/spool/alice')();
  const giveBack = tryLock();
  expect([typeof giveBack, tryLock()]).toEqual(['function', undefined]);
  giveBack?.();
  const again = tryLock();
  expect(again).toBeTypeOf('function');
  again?.();
  expect(openIn(dir)).toBe(0);
});

test.each([
  ['the file was removed', (_dir: string, path: string) => unlinkSync(path)],
  [
    'the directory was replaced',
    (dir: string) => {
      renameSync(dir, `${dir}.old`);
      mkdirSync(dir);
    },
  ],
])('%s: who is busy meets those who come later all the same', (_, remove) => {
  const dir = join(scratchDir(), 'run');
  mkdirSync(dir);
  const [busy, other] = [new LockedOctets(linuxHost, dir), new LockedOctets(linuxHost, dir)];
  // All in one file, which `busy` has always open.
  const [first, second, third] = ['00', '01', '02'].map(tail =>
    `07${'0'.repeat(13)}${tail}`.padEnd(32, '0'),
  ) as [string, string, string];
  const before = busy.tryLock(first);
  remove(dir, octetPlace(dir, first).path);
  const giveSecondBack = busy.tryLock(second);
  for (const name of [first, second]) expect(other.tryLock(name), name).toBeUndefined();
  expect(busy.tryLock(first)).toBeUndefined();
  const giveThirdBack = other.tryLock(third);
  expect(busy.tryLock(third)).toBeUndefined();
  for (const giveBack of [before, giveSecondBack, giveThirdBack]) giveBack?.();
  for (const name of [first, second, third]) {
    const giveBack = other.tryLock(name);
    expect(giveBack, name).toBeDefined();
    giveBack?.();
  }
  expect(openIn(dir) + openIn(`${dir}.old`)).toBe(0);
});

test('the socket to ask at was removed: sessions that come later can be asked all the same', async () => {
  const dir = scratchDir();
  const locksOf = () => {
    const takeover = new Takeover(dir, 1000, silentLog);
    return new HostSessionLocks({ host: linuxHost, log: silentLog, dir, takeover, perUser: false });
  };
  const [busy, other] = [locksOf(), locksOf()];
  const claim = { account: { user: 'alice' }, peer: { address: '192.0.2.7', port: 1 }, holder: BUSY };
  const sockets = () => readdirSync(dir).filter(name => name.endsWith('.socket'));
  const first = await busy.lock('/var/mail/alice', claim);
  for (const name of sockets()) unlinkSync(join(dir, name));
  const silent: { release?: () => void } = {};
  const holder = { silence: () => 2000, cut: () => silent.release?.() };
  silent.release = (await busy.lock('/var/mail/bob', { ...claim, holder })).release;
  const taken = await other.lock('/var/mail/bob', claim);
  taken.release();
  first.release();
  expect(sockets()).toEqual([]);
});

test('a thousand sessions take 16 descriptors, and none when they are over', async () => {
  const dir = scratchDir();
  const takeover = new Takeover(dir, 0, silentLog);
  const locks = new HostSessionLocks({ host: linuxHost, log: silentLog, dir, takeover, perUser: false });
  const peer = { address: '192.0.2.7', port: 1 };
  const claim = { account: { user: 'alice' }, peer, holder: BUSY };
  const lock = (n: number) => locks.lock(`/var/mail/${n}`, claim);
  const held = await Promise.all(Array.from({ length: 1000 }, (_, n) => lock(n)));
  expect(openIn(dir)).toBe(16);
  for (const n of [0, 500, 999]) {
    await expect(lock(n)).rejects.toMatchObject({
      code: 'IN-USE',
      message: expect.stringMatching(/ since \S+Z from 192\.0\.2\.7$/),
    });
  }
  for (const one of held) one.release();
  expect(openIn(dir)).toBe(0);
  (await lock(500)).release();
});

test('a lock that cannot be made is an answer, and leaves nothing open', async () => {
  const dir = join(scratchDir(), 'missing');
  for (const perUser of [false, true]) {
    const takeover = new Takeover(dir, 0, silentLog);
    const locks = new HostSessionLocks({ host: linuxHost, log: silentLog, dir, takeover, perUser });
    const claim = { account: { user: 'alice' }, peer: { address: '192.0.2.7', port: 1 }, holder: BUSY };
    await expect(locks.lock('/var/mail/alice', claim)).rejects.toMatchObject({ code: 'SYS/TEMP' });
  }
});

/** The mailbox locks against other programs' locks: real ones, held by real processes. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { loadHost } from '../../lib/host/load.js';
import { Dotlock } from '../../lib/maildrop/dotlock.js';
import { TimesOfFiles } from '../../lib/maildrop/dotlock-fs.js';
import { message, messages, type Spool, scratchDir, spoolWith } from '../support/mailbox.js';
import { openAlice } from '../support/maildrop.js';
import { chunksOf, collect } from '../support/message-reader.js';
import { APPEND_UNDER_FCNTL_LOCK, HOLD_FCNTL_LOCK, python } from '../support/python.js';

const lockFile = (spool: Spool) => `${spool.mailbox}.lock`;
const inUse = { code: 'IN-USE' };

/** The pid of a process that is no more. */
function deadPid(): number {
  return Number(execFileSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }));
}

/** Makes the file look unchanged for `minutes`; the change time cannot be set, so only the mtime is. */
function age(path: string, minutes: number): void {
  const then = Date.now() / 1000 - minutes * 60;
  utimesSync(path, then, then);
}

describe('our dotlock', () => {
  test('is a file with our pid and host that others can read, and goes with the session', async () => {
    const spool = spoolWith(message(1));
    const umask = process.umask(0o077);
    const maildrop = await openAlice(spool).finally(() => process.umask(umask));
    expect(readFileSync(lockFile(spool), 'utf8')).toBe(`${process.pid}:${hostname()}\n`);
    const stat = lstatSync(lockFile(spool));
    expect([stat.isFile(), stat.mode & 0o777, stat.nlink]).toEqual([true, 0o644, 1]);
    expect(readdirSync(spool.dir).sort()).toEqual(['alice', 'alice.lock']);
    await maildrop.release();
    expect(readdirSync(spool.dir)).toEqual(['alice']);
  });

  test('keeps out dotlockfile(1), where it is installed, until released', async ({ skip }) => {
    if (!existsSync('/usr/bin/dotlockfile')) skip('dotlockfile (liblockfile-bin) is not installed');
    const spool = spoolWith(message(1));
    const maildrop = await openAlice(spool);
    expect(() => execFileSync('dotlockfile', ['-r', '0', '-l', lockFile(spool)])).toThrow();
    await maildrop.release();
    execFileSync('dotlockfile', ['-r', '0', '-l', lockFile(spool)]);
    await expect(openAlice(spool)).rejects.toMatchObject(inUse);
    execFileSync('dotlockfile', ['-u', lockFile(spool)]);
    await (await openAlice(spool)).release();
  });

  test('that was replaced by another is not removed by us, and its loss is noticed', async () => {
    const spool = spoolWith(message(1));
    const maildrop = await openAlice(spool);
    rmSync(lockFile(spool));
    writeFileSync(lockFile(spool), '1:elsewhere\n');
    await maildrop.release();
    expect(readFileSync(lockFile(spool), 'utf8')).toBe('1:elsewhere\n');
  });
});

describe("somebody else's dotlock", () => {
  const LIVE: [string, string][] = [
    ['of a live process of this host', `${process.pid}:${hostname()}\n`],
    ['of a live process, bare pid', `${process.ppid}\n`],
    ['of a dead pid of another host', `${2 ** 22 + 7}:elsewhere.example.com\n`],
    ['without a pid', ''],
    ['of pid 0, as maillock(3) writes', '0'],
    ['full of garbage', '\0\xff not a pid'],
  ];
  test.each(LIVE)('%s is respected', async (_name, content) => {
    const spool = spoolWith(message(1));
    writeFileSync(lockFile(spool), content, 'latin1');
    await expect(openAlice(spool)).rejects.toMatchObject(inUse);
    expect(readFileSync(lockFile(spool), 'latin1')).toBe(content);
  });

  test('of a dead process of this host is broken at once', async () => {
    const spool = spoolWith(message(1));
    writeFileSync(lockFile(spool), `${deadPid()}:${hostname()}\n`);
    const maildrop = await openAlice(spool);
    expect(readFileSync(lockFile(spool), 'utf8')).toBe(`${process.pid}:${hostname()}\n`);
    await maildrop.release();
    expect(readdirSync(spool.dir)).toEqual(['alice']);
  });

  test('of a dead process is not broken while another program has the mailbox locked by fcntl', async () => {
    const spool = spoolWith(message(1));
    const content = `${deadPid()}:${hostname()}\n`;
    writeFileSync(lockFile(spool), content);
    const holder = await python(HOLD_FCNTL_LOCK, spool.mailbox);
    await expect(openAlice(spool)).rejects.toMatchObject(inUse);
    expect(readFileSync(lockFile(spool), 'utf8')).toBe(content);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    await (await openAlice(spool)).release();
  });

  test('of unknown age is not broken for its mtime alone: the change time is young', async () => {
    const spool = spoolWith(message(1));
    writeFileSync(lockFile(spool), '');
    age(lockFile(spool), 60);
    await expect(openAlice(spool)).rejects.toMatchObject(inUse);
  });

  test('C22: a directory, symbolic link or FIFO in its place is never followed or removed', async () => {
    for (const plant of [
      (path: string) => mkdirSync(path),
      (path: string) => symlinkSync('/etc/passwd', path),
      (path: string) => execFileSync('mkfifo', [path]),
    ]) {
      const spool = spoolWith(message(1));
      plant(lockFile(spool));
      const before = lstatSync(lockFile(spool));
      await expect(openAlice(spool)).rejects.toMatchObject(inUse);
      expect(lstatSync(lockFile(spool)).ino).toBe(before.ino);
    }
  });

  test('the refusal says who and since when', async () => {
    const spool = spoolWith(message(1));
    writeFileSync(lockFile(spool), `${process.pid}:${hostname()}\n`);
    const uid = process.geteuid!();
    await expect(openAlice(spool)).rejects.toThrow(
      new RegExp(`dotlock of process ${process.pid}, owner uid ${uid}, since 20[0-9]{2}-`),
    );
  });
});

describe('the fcntl lock', () => {
  test("C29: keeps out other programs' fcntl locks, also after the file was opened and closed again", async () => {
    const spool = spoolWith(message(1));
    const maildrop = await openAlice(spool);
    statSync(spool.mailbox);
    readFileSync(spool.mailbox);
    await collect(maildrop.retrieve(1));
    const other = spawn('python3', ['-c', HOLD_FCNTL_LOCK, spool.mailbox]);
    const [answer] = await once(other.stdout, 'data');
    expect(String(answer).trim()).toBe('busy');
    await maildrop.release();
    const later = await python(HOLD_FCNTL_LOCK, spool.mailbox);
    await expect(openAlice(spool)).rejects.toThrow('an fcntl lock');
    later.kill('SIGKILL');
    await once(later, 'exit');
    await (await openAlice(spool)).release();
  });

  test('the dotlock is given back when the fcntl lock is not to be had', async () => {
    const spool = spoolWith(message(1));
    await python(HOLD_FCNTL_LOCK, spool.mailbox);
    await expect(openAlice(spool)).rejects.toMatchObject(inUse);
    expect(readdirSync(spool.dir)).toEqual(['alice']);
  });

  test('a shared one is enough for a read-only session', async () => {
    const spool = spoolWith(message(1));
    const maildrop = await openAlice(spool, { readOnly: true });
    const other = spawn('python3', ['-c', HOLD_FCNTL_LOCK, spool.mailbox]);
    const [answer] = await once(other.stdout, 'data');
    expect(String(answer).trim()).toBe('busy');
    await maildrop.release();
  });
});

test('flock is taken when configured', async () => {
  const spool = spoolWith(message(1));
  const holder = spawn('flock', [spool.mailbox, 'sh', '-c', 'echo locked; cat']);
  await once(holder.stdout, 'data');
  await expect(openAlice(spool, { locks: ['dotlock', 'fcntl', 'flock'] })).rejects.toThrow('a flock');
  await (await openAlice(spool)).release();
  holder.stdin.end();
  await once(holder, 'exit');
  await (await openAlice(spool, { locks: ['flock'] })).release();
});

describe('lock-yield', () => {
  test('0 lets deliveries in as soon as the mailbox is indexed', async () => {
    const spool = spoolWith(messages(3).join(''));
    const maildrop = await openAlice(spool, { lockYield: 0 });
    const agent = await python(APPEND_UNDER_FCNTL_LOCK, spool.mailbox);
    agent.stdin!.end(message('late'));
    await once(agent, 'exit');
    expect(existsSync(lockFile(spool))).toBe(false);
    await maildrop.mark(2);
    await maildrop.update();
    const [one, , three] = messages(3);
    expect(spool.content()).toBe(one! + three! + message('late'));
  });

  test('never keeps a delivery waiting until QUIT, and nothing of it is lost', async () => {
    const spool = spoolWith(messages(3).join(''));
    const maildrop = await openAlice(spool);
    const agent = await python(APPEND_UNDER_FCNTL_LOCK, spool.mailbox);
    agent.stdin!.end(message('late'));
    await maildrop.mark(1);
    const exit = once(agent, 'exit');
    expect(spool.content()).toBe(messages(3).join(''));
    await maildrop.update();
    await exit;
    expect(spool.content()).toBe(messages(3).slice(1).join('') + message('late'));
  });

  test('in the middle of a RETR: the rest is checked and comes out whole', async () => {
    const spool = spoolWith(message('long', 'x'.repeat(99).concat('\n').repeat(20_000)) + message(2));
    const maildrop = await openAlice(spool, { lockYield: 50 });
    let octets = 0;
    for await (const chunk of chunksOf(maildrop.retrieve(1))) {
      octets += chunk.length;
      while (existsSync(lockFile(spool))) await new Promise(resolve => setTimeout(resolve, 5));
    }
    expect(octets).toBe(maildrop.octets(1));
    await maildrop.mark(1);
    await maildrop.update();
    expect(spool.content()).toBe(message(2));
  });

  test('UPDATE that does not get the locks back says so and writes nothing', async () => {
    const spool = spoolWith(messages(3).join(''));
    const maildrop = await openAlice(spool, { lockYield: 0 });
    await maildrop.mark(1);
    await python(HOLD_FCNTL_LOCK, spool.mailbox);
    await expect(maildrop.update()).rejects.toMatchObject(inUse);
    expect(spool.content()).toBe(messages(3).join(''));
    expect(readdirSync(spool.dir)).toEqual(['alice']);
  });
});

test('16 processes over 1,000 stale locks: never two holders', { timeout: 300_000 }, async () => {
  const dir = scratchDir();
  const mailbox = join(dir, 'alice');
  writeFileSync(mailbox, message(1));
  writeFileSync(join(dir, 'ledger'), '');
  const stale = `${deadPid()}:${hostname()}\n`;
  writeFileSync(`${mailbox}.lock`, stale);
  const contender = new URL('../support/dotlock-contender.mjs', import.meta.url).pathname;
  const results = await Promise.all(
    Array.from({ length: 16 }, async () => {
      const child = spawn(process.execPath, [contender, dir, stale, '1000'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let text = '';
      child.stdout.on('data', chunk => {
        text += chunk;
      });
      const [code] = await once(child, 'close');
      return { code, ...(JSON.parse(text) as { overlaps: number; rounds: number }) };
    }),
  );
  expect(results.every(({ code }) => code === 0)).toBe(true);
  expect(results.reduce((sum, { overlaps }) => sum + overlaps, 0)).toBe(0);
  expect(results.reduce((sum, { rounds }) => sum + rounds, 0)).toBeGreaterThanOrEqual(1000);
  expect(readdirSync(dir).sort()).toEqual(['alice', 'alice.lock', 'ledger']);
});

/** A dotlock of our own that is held, and how often it was lost. */
async function heldDotlock(
  times?: TimesOfFiles,
): Promise<{ spool: Spool; dotlock: Dotlock; lost: () => number }> {
  const spool = spoolWith(message(1));
  const { host } = await loadHost();
  let lost = 0;
  const dotlock = new Dotlock({
    mailboxPath: spool.mailbox,
    mailboxFd: undefined,
    host,
    times,
    onLost: () => {
      lost++;
    },
  });
  expect(await dotlock.tryLock()).toBe(true);
  return { spool, dotlock, lost: () => lost };
}

/** Waits for real input and output while timers are not real; the test's own limit ends it. */
const until = async (done: () => boolean) => {
  while (!done()) await new Promise(resolve => setImmediate(resolve));
};

test('only the first lock of a spool is touched to find out how fine the times of files are', async () => {
  const times = new TimesOfFiles();
  const first = await heldDotlock(times);
  // By proper-lockfile: a time in the future that is not on the second.
  expect(Math.round(statSync(lockFile(first.spool)).mtimeMs) % 1000).toBe(5);
  const made = lstatSync(lockFile(first.spool), { bigint: true });
  expect(made.mtimeNs).not.toBe(made.birthtimeNs);
  const second = await heldDotlock(times);
  const later = lstatSync(lockFile(second.spool), { bigint: true });
  expect(later.mtimeNs).toBeLessThanOrEqual(later.ctimeNs);
  await first.dotlock.unlock();
  await second.dotlock.unlock();
  expect([first.lost(), second.lost()]).toEqual([0, 0]);
});

test.each([
  ['the first lock', undefined],
  ['a later lock', new TimesOfFiles()],
])('%s is refreshed for as long as it is held, so that nobody takes it for stale', async (_, times) => {
  if (times !== undefined) await (await heldDotlock(times)).dotlock.unlock();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  onTestFinished(() => void vi.useRealTimers());
  const { spool, dotlock, lost } = await heldDotlock(times);
  // Each minute and millisecond is another number of seconds in floating point.
  for (let minute = 1; minute <= 20; minute++) {
    const before = statSync(lockFile(spool)).mtimeMs;
    vi.advanceTimersByTime(10_007);
    await until(() => lost() > 0 || statSync(lockFile(spool)).mtimeMs !== before);
    // proper-lockfile notes what it has set, and sets the next timer.
    await until(() => vi.getTimerCount() > 0);
    expect([lost(), Math.round(statSync(lockFile(spool)).mtimeMs - before) > 9000]).toEqual([0, true]);
  }
  await dotlock.unlock();
  expect(readdirSync(spool.dir)).toEqual(['alice']);
});

test('a lock whose time somebody else has set is given up, and is not left in the way', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const { spool, dotlock, lost } = await heldDotlock();
  age(lockFile(spool), 4);
  vi.advanceTimersByTime(10_000);
  await until(() => lost() > 0);
  expect([lost(), dotlock.isOurs(), readdirSync(spool.dir)]).toEqual([1, false, ['alice']]);
});

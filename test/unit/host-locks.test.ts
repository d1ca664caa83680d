// The locks of both hosts, the native ones against Python's fcntl in another process.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Host } from '../../lib/host/host.js';
import { linuxHost } from '../../lib/host/linux.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { runPython } from '../support/run-python.js';

let dir: string;
let file: string;
let fds: number[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'host-locks-'));
  file = join(dir, 'alice');
  writeFileSync(file, 'From a@b Thu Jan  1 00:00:00 1970\n\nhello\n');
});
afterEach(() => {
  for (const fd of fds) closeSync(fd);
  fds = [];
  rmSync(dir, { recursive: true });
});

function open(path = file, flags = 'r+'): number {
  const fd = openSync(path, flags);
  fds.push(fd);
  return fd;
}
function close(fd: number): void {
  fds = fds.filter(other => other !== fd);
  closeSync(fd);
}

/** Whether another process gets the lock: `lockf` is fcntl(2) F_SETLK, a plain POSIX lock. */
const otherProcessGets = (call: 'lockf' | 'flock', kind: 'EX' | 'SH' = 'EX') =>
  runPython(
    `
import fcntl, sys
f = open(sys.argv[1], 'r+b')
try:
    fcntl.${call}(f, fcntl.LOCK_${kind} | fcntl.LOCK_NB)
    print('yes')
except OSError:
    print('no')`,
    file,
  ).then(({ stdout }) => stdout.trim() === 'yes');

describe.each([
  ['native', () => linuxHost],
  ['portable', createPortableHost],
] as const)('%s host, within the process', (_, make) => {
  // A new one each time: a portable host does not see that the system gave a removed file's number to another.
  let host: Host;
  beforeEach(() => {
    host = make();
  });

  describe.each([
    ['open file lock', 'lockOpenFile', 'unlockOpenFile'],
    ['flock', 'flock', 'unflock'],
  ] as const)('%s', (_name, lockMethod, unlockMethod) => {
    const lock = (fd: number, kind: 'read' | 'write') => host[lockMethod](fd, kind);
    const unlock = (fd: number) => host[unlockMethod](fd);

    test('C29: a second write lock on another open of the file is refused, until the first is ended', () => {
      const [a, b] = [open(), open()];
      expect(lock(a, 'write')).toBe(true);
      expect(lock(b, 'write')).toBe(false);
      expect(lock(b, 'read')).toBe(false);
      expect(lock(a, 'write')).toBe(true);
      unlock(a);
      expect(lock(b, 'write')).toBe(true);
    });

    test('read locks stand together, and keep a write lock out', () => {
      const [a, b, c] = [open(), open(), open()];
      expect(lock(a, 'read')).toBe(true);
      expect(lock(b, 'read')).toBe(true);
      expect(lock(c, 'write')).toBe(false);
      unlock(a);
      expect(lock(c, 'write')).toBe(false);
      unlock(b);
      expect(lock(c, 'write')).toBe(true);
    });

    test('a read lock becomes a write lock when nobody else holds one', () => {
      const [a, b] = [open(), open()];
      expect(lock(a, 'read')).toBe(true);
      expect(lock(b, 'read')).toBe(true);
      expect(lock(a, 'write')).toBe(false);
      unlock(b);
      expect(lock(a, 'write')).toBe(true);
      expect(lock(b, 'read')).toBe(false);
    });

    test('closing the descriptor ends the lock', () => {
      const [a, b] = [open(), open()];
      expect(lock(a, 'write')).toBe(true);
      close(a);
      expect(lock(b, 'write')).toBe(true);
    });

    test('closing the descriptor ends the lock, also when its number is used again', () => {
      const [a, b] = [open(), open()];
      expect(lock(a, 'write')).toBe(true);
      close(a);
      const elsewhere = join(dir, 'bob');
      writeFileSync(elsewhere, '');
      open(elsewhere);
      expect(lock(b, 'write')).toBe(true);
    });

    test('another file is another lock', () => {
      const elsewhere = join(dir, 'bob');
      writeFileSync(elsewhere, '');
      expect(lock(open(), 'write')).toBe(true);
      expect(lock(open(elsewhere), 'write')).toBe(true);
    });

    test('a descriptor that is not open is an error, not an answer', () => {
      const fd = open();
      close(fd);
      expect(() => lock(fd, 'write')).toThrow(/EBADF/);
    });
  });

  test('locks on octets: of each, one open file has it, and no other octet is any the less free', () => {
    const [a, b] = [open(), open()];
    const far = 2n ** 60n;
    expect(host.lockOctet(a, far)).toBe(true);
    expect(host.lockOctet(a, far)).toBe(true);
    expect(host.lockOctet(b, far)).toBe(false);
    for (const other of [0n, far - 1n, far + 1n]) expect(host.lockOctet(b, other)).toBe(true);
    host.unlockOctet(a, far);
    expect(host.lockOctet(b, far)).toBe(true);
    for (const one of [0n, far - 1n, far, far + 1n]) expect(host.lockOctet(a, one)).toBe(false);
    close(b);
    for (const one of [0n, far - 1n, far, far + 1n]) expect(host.lockOctet(a, one)).toBe(true);
  });

  test('open file locks and flocks do not see each other', () => {
    const [a, b] = [open(), open()];
    expect(host.lockOpenFile(a, 'write')).toBe(true);
    expect(host.flock(b, 'write')).toBe(true);
  });
});

describe('native host, against another process', () => {
  test("C29: an open file lock keeps out another process's fcntl lock, until it is ended", async () => {
    const fd = open();
    expect(await otherProcessGets('lockf')).toBe(true);
    expect(linuxHost.lockOpenFile(fd, 'write')).toBe(true);
    expect(await otherProcessGets('lockf')).toBe(false);
    linuxHost.unlockOpenFile(fd);
    expect(await otherProcessGets('lockf')).toBe(true);
  });

  test('C29: it survives the open and close of other descriptors of the file', async () => {
    expect(linuxHost.lockOpenFile(open(), 'write')).toBe(true);
    close(open());
    close(open(file, 'r'));
    readFileSync(file);
    expect(await otherProcessGets('lockf')).toBe(false);
  });

  test('a read lock lets readers in and keeps writers out', async () => {
    expect(linuxHost.lockOpenFile(open(), 'read')).toBe(true);
    expect(await otherProcessGets('lockf', 'SH')).toBe(true);
    expect(await otherProcessGets('lockf', 'EX')).toBe(false);
  });

  test('it covers the whole file, also what is appended later', async () => {
    const fd = open();
    expect(linuxHost.lockOpenFile(fd, 'write')).toBe(true);
    writeFileSync(file, 'x'.repeat(100_000), { flag: 'a' });
    const { stdout } = await runPython(
      `
import fcntl, sys
f = open(sys.argv[1], 'r+b')
for start in (0, 1, 90000, 2**40):
    try:
        fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)
        print('yes')
    except OSError:
        print('no')`,
      file,
    );
    expect(stdout).toBe('no\nno\nno\nno\n');
  });

  test('flock keeps out the flock of another process', async () => {
    const fd = open();
    expect(linuxHost.flock(fd, 'write')).toBe(true);
    expect(await otherProcessGets('flock')).toBe(false);
    linuxHost.unflock(fd);
    expect(await otherProcessGets('flock')).toBe(true);
    expect(linuxHost.flock(fd, 'read')).toBe(true);
    expect(await otherProcessGets('flock', 'SH')).toBe(true);
  });

  test('a write lock needs a descriptor open for writing', () => {
    expect(() => linuxHost.lockOpenFile(open(file, 'r'), 'write')).toThrow(/EBADF/);
    expect(linuxHost.lockOpenFile(open(file, 'r'), 'read')).toBe(true);
  });
});

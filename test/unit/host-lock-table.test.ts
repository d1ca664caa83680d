// Who holds a kernel lock, as seen from outside, against locks of real processes.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, lstatSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { linuxHost } from '../../lib/host/linux.js';
import { isOctetLocked, kernelLocksOn, processName } from '../../lib/host/lock-table.js';
import { scratchDir } from '../support/mailbox.js';
import { HOLD_FCNTL_LOCK, python } from '../support/python.js';

function lockedFile(): string {
  const path = join(scratchDir(), 'alice');
  writeFileSync(path, 'x');
  return path;
}
const look = (path: string) => kernelLocksOn(lstatSync(path, { bigint: true }));
const onLinux = test.skipIf(process.platform !== 'linux');

onLinux('a file nobody has locked', () => {
  expect(look(lockedFile())).toEqual([]);
});

onLinux('the fcntl lock of another process, by its pid', async () => {
  const path = lockedFile();
  const child = await python(HOLD_FCNTL_LOCK, path);
  expect(look(path)).toEqual([{ kind: 'fcntl', mode: 'write', pids: [child.pid] }]);
  expect(processName(child.pid!)).toMatch(/^python/);
});

onLinux('our own open file description lock, which names no process by itself', () => {
  const path = lockedFile();
  const fd = openSync(path, 'r+');
  onTestFinished(() => closeSync(fd));
  expect(linuxHost.lockOpenFile(fd, 'read')).toBe(true);
  expect(look(path)).toEqual([{ kind: 'fcntl', mode: 'read', pids: [process.pid] }]);
});

onLinux('a lock on one octet, and no other', () => {
  const path = lockedFile();
  const fd = openSync(path, 'r+');
  onTestFinished(() => closeSync(fd));
  const octet = 2n ** 60n + 1n;
  const isLocked = (at: bigint) => isOctetLocked(lstatSync(path, { bigint: true }), at);
  expect(linuxHost.lockOctet(fd, octet)).toBe(true);
  expect([octet - 1n, octet, octet + 1n].map(isLocked)).toEqual([false, true, false]);
  linuxHost.unlockOctet(fd, octet);
  expect(isLocked(octet)).toBe(false);
  expect(linuxHost.lockOpenFile(fd, 'write')).toBe(true);
  expect(isLocked(octet)).toBe(true);
});

onLinux('flock(2), and not those who wait for it', async () => {
  const path = lockedFile();
  const fd = openSync(path, 'r+');
  onTestFinished(() => closeSync(fd));
  expect(linuxHost.flock(fd, 'write')).toBe(true);
  const waiter = spawn('python3', [
    '-c',
    'import fcntl,sys\nf=open(sys.argv[1])\nprint("waiting",flush=True)\nfcntl.flock(f,fcntl.LOCK_EX)',
    path,
  ]);
  onTestFinished(() => {
    waiter.kill('SIGKILL');
  });
  await once(waiter.stdout, 'data');
  expect(look(path)).toEqual([{ kind: 'flock', mode: 'write', pids: [process.pid] }]);
});

test('a process that does not exist has no name', () => {
  expect(processName(2 ** 22 + 1)).toBeUndefined();
});

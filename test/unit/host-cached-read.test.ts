// Reads of what is in memory: the same octets as an ordinary read, and undefined for everything that one must tell.
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { linuxHost } from '../../lib/host/linux.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { hostIo, readFully } from '../../lib/maildrop/io.js';
import { Kernel, loadKernel } from '../../lib/mbox/kernel/kernel.js';
import { scratchDir } from '../support/mailbox.js';

const CONTENT = Buffer.from(Array.from({ length: 5000 }, (_, i) => i % 251));

function openFile(flags = 'r'): number {
  const path = join(scratchDir(), 'file');
  writeFileSync(path, CONTENT);
  const fd = openSync(path, flags);
  onTestFinished(() => closeSync(fd));
  // Now it is in memory, where the file system does this at all.
  if (flags === 'r') readSync(fd, Buffer.alloc(CONTENT.length), 0, CONTENT.length, 0);
  return fd;
}

test('into a part of a buffer, from any position, and no octet beside it', () => {
  const fd = openFile();
  for (const [position, length] of [
    [0, 1],
    [0, 5000],
    [4990, 100],
  ] as const) {
    const into = Buffer.alloc(6000, 0xff);
    const count = linuxHost.readCached(fd, into.subarray(300, 300 + length), position);
    const expected = CONTENT.subarray(position, position + length);
    expect(count ?? expected.length, `${position}`).toBe(expected.length);
    if (count === undefined) console.warn('host-cached-read.test.ts: this file system reads nothing so');
    else expect(into.subarray(300, 300 + count).equals(expected)).toBe(true);
    expect(into.subarray(0, 300).every(octet => octet === 0xff)).toBe(true);
    expect(into.subarray(300 + length).every(octet => octet === 0xff)).toBe(true);
  }
});

test('the end of the file is for an ordinary read to tell: some kernels say 0 of what is not in memory', async () => {
  const fd = openFile();
  for (const position of [5000, 9000]) {
    expect(linuxHost.readCached(fd, Buffer.alloc(10), position)).toBeUndefined();
    expect(await hostIo(linuxHost).read(fd, Buffer.alloc(10), position)).toBe(0);
  }
});

test('into the memory of the kernels', async () => {
  const kernel = loadKernel();
  if (!(kernel instanceof Kernel)) throw kernel;
  const into = kernel.memory.take()!.subarray(1000, 6000);
  await readFully(hostIo(linuxHost), openFile(), into, 0);
  expect(into.equals(CONTENT)).toBe(true);
});

test('what cannot be read is left to the ordinary read, which says why', async () => {
  const fd = openFile('a');
  const closed = openSync('/dev/null', 'r');
  closeSync(closed);
  for (const one of [fd, closed]) {
    const into = Buffer.alloc(10);
    expect(linuxHost.readCached(one, into, 0)).toBeUndefined();
    await expect(hostIo(linuxHost).read(one, into, 0)).rejects.toThrow(/EBADF/);
  }
});

test.each([
  ['native', linuxHost],
  ['portable', createPortableHost()],
] as const)('a file read in pieces, %s host', async (_, host) => {
  const fd = openFile();
  const io = hostIo(host);
  const into = Buffer.alloc(CONTENT.length + 100);
  expect(await readFully(io, fd, into, 0)).toBe(CONTENT.length);
  expect(into.subarray(0, CONTENT.length).equals(CONTENT)).toBe(true);
});

// fstat(2) and lstat(2) by the native room: what Node.js says, field by field, and nothing where Node.js must tell.
import {
  chmodSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { linuxHost } from '../../lib/host/linux.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { hostIo, nodeIo } from '../../lib/maildrop/io.js';
import { scratchDir } from '../support/mailbox.js';
import { runPython } from '../support/run-python.js';

/** A file system is asked for its own idea of times: before 1970, and with all nanoseconds. */
const TIMES = 'import os, sys; os.utime(sys.argv[1], ns=(-1500000001, 1234567890123456789))';

async function populated(): Promise<string> {
  const dir = scratchDir();
  const file = join(dir, 'file');
  writeFileSync(file, 'octets');
  linkSync(file, join(dir, 'second'));
  await runPython(TIMES, file);
  writeFileSync(join(dir, 'large'), '');
  truncateSync(join(dir, 'large'), 5 * 2 ** 32 + 1);
  chmodSync(join(dir, 'large'), 0o4751);
  mkdirSync(join(dir, 'directory'));
  symlinkSync('file', join(dir, 'link'));
  return dir;
}

test('says of each kind of file what Node.js says', async () => {
  const dir = await populated();
  for (const path of [
    ...['file', 'large', 'directory', 'link'].map(name => join(dir, name)),
    '/proc/self/stat',
    '/dev/null',
  ]) {
    const named = linuxHost.statNamed(path);
    if (named === undefined && process.env.CI !== 'true') {
      return console.warn('host-stat.test.ts: no statx(2) here');
    }
    expect(named, path).toBeDefined();
    const { atimeNs: _, ...rest } = await nodeIo.lstat(path);
    expect(named, path).toMatchObject(path.startsWith('/proc') ? { kind: 'file', ino: rest.ino } : rest);
    if (named!.kind === 'symlink') continue;
    const fd = openSync(path, 'r');
    const opened = await nodeIo.fstat(fd);
    expect(linuxHost.statOpen(fd)!.dev, path).toBe(opened.dev);
    if (named!.kind === 'file' && !path.startsWith('/proc')) expect(linuxHost.statOpen(fd)).toEqual(opened);
  }
});

test('where there is an error, Node.js tells it', async () => {
  const dir = await populated();
  const io = hostIo(linuxHost);
  for (const path of [join(dir, 'nobody'), join(dir, 'file', 'below'), `${join(dir, 'file')}\0more`, '']) {
    expect(linuxHost.statNamed(path)).toBeUndefined();
    const expected = await Promise.resolve(nodeIo.lstat(path)).catch(error => error.code);
    await expect(async () => io.lstat(path, true), path).rejects.toMatchObject({ code: expected });
  }
  expect(linuxHost.statOpen(-1)).toBeUndefined();
  await expect(async () => io.fstat(-1)).rejects.toThrow(RangeError);
});

test('without the FFI it is Node.js that is asked', async () => {
  const file = join(await populated(), 'file');
  const host = createPortableHost();
  expect(host.statNamed(file)).toBeUndefined();
  expect(host.statOpen(0)).toBeUndefined();
  expect((await hostIo(host).lstat(file, true)).ino).toBe(
    fstatSync(openSync(file, 'r'), { bigint: true }).ino,
  );
});

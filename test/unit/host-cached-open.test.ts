// Names looked up in memory: as by open(2) and lstat(2), and undefined where one of them must tell.
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { errnoOf } from '../../lib/errors.js';
import { linuxHost } from '../../lib/host/linux.js';
import { createPortableHost } from '../../lib/host/portable.js';
import { hostIo, nodeIo } from '../../lib/maildrop/io.js';
import { scratchDir } from '../support/mailbox.js';
import { runPython } from '../support/run-python.js';

const { O_RDONLY, O_RDWR, O_NOFOLLOW, O_NONBLOCK } = constants;

async function populated(): Promise<string> {
  const dir = scratchDir();
  writeFileSync(join(dir, 'file'), 'octets');
  mkdirSync(join(dir, 'directory'));
  symlinkSync('file', join(dir, 'link'));
  symlinkSync('nowhere', join(dir, 'dangling'));
  await runPython('import os, sys; os.mkfifo(sys.argv[1])', join(dir, 'fifo'));
  return dir;
}

test('a file that is there is open, for what was asked', async () => {
  const path = join(await populated(), 'file');
  const fd = linuxHost.openCached(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  if (fd === undefined)
    return console.warn('host-cached-open.test.ts: no openat2(2) here, or not of this file system');
  expect(fstatSync(fd).ino).toBe(fstatSync(openSync(path, 'r')).ino);
  writeSync(fd, 'x');
  closeSync(fd);
  const reading = linuxHost.openCached(path, O_RDONLY)!;
  expect(() => writeSync(reading, 'x')).toThrow(/EBADF/);
  closeSync(reading);
});

test('one that is not there is told, one that may not be opened is left to an ordinary open', async () => {
  const dir = await populated();
  if (linuxHost.openCached(join(dir, 'file'), O_RDONLY) === undefined) return;
  // Whether it is known that there is none depends on whether somebody has asked lately.
  const answer = (() => {
    try {
      return linuxHost.openCached(join(dir, 'nobody'), O_RDONLY);
    } catch (error) {
      return errnoOf(error);
    }
  })();
  expect([undefined, 'ENOENT']).toContain(answer);
  expect(linuxHost.openCached(join(dir, 'link'), O_RDONLY | O_NOFOLLOW)).toBeUndefined();
  expect(linuxHost.openCached(join(dir, 'file\0more'), O_RDONLY)).toBeUndefined();
  await expect(hostIo(linuxHost).open(join(dir, 'link'), O_RDONLY | O_NOFOLLOW)).rejects.toThrow(/ELOOP/);
});

test.each([
  ['native', linuxHost],
  ['portable', createPortableHost()],
] as const)('%s host: what lstat(2) says of a name, of whatever kind', async (_, host) => {
  const dir = await populated();
  const io = hostIo(host);
  for (const name of ['file', 'directory', 'link', 'dangling', 'fifo']) {
    const path = join(dir, name);
    const usual = await nodeIo.lstat(path);
    for (const seen of [false, true]) expect(await io.lstat(path, seen), name).toEqual(usual);
  }
  for (const name of ['nobody', 'file/inside', 'nowhere/at/all']) {
    const code = name.startsWith('file') ? 'ENOTDIR' : 'ENOENT';
    await expect(io.lstat(join(dir, name)), name).rejects.toMatchObject({ code });
    await expect(io.open(join(dir, name), O_RDONLY), name).rejects.toMatchObject({ code });
  }
});

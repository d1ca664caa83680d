// Replacing a users file on a real file system: what stays, what nobody loses, what a failure leaves.
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { withUser } from '../../lib/auth/users-edit.js';
import { editUsers, readUsers } from '../../lib/auth/users-store.js';
import { EX, UsageError } from '../../lib/errors.js';
import { linuxHost } from '../../lib/host/linux.js';
import { scratchDir } from '../support/mailbox.js';

const IS_ROOT = process.geteuid!() === 0;
if (!IS_ROOT) console.warn('auth-users-store.test.ts: keeping another owner is not tested: only root can');

let dir: string;
let path: string;
beforeEach(() => {
  dir = scratchDir();
  path = join(dir, 'users');
});

const edit = (change: (text: string) => string, create = false, at = path) =>
  editUsers(linuxHost, at, change, create);
const add = (name: string, create = false) => edit(text => withUser(text, [name, 'x']), create);

test('octets of every value survive; the mode stays; nothing else is left in the directory', async () => {
  const octets = Buffer.from(Array.from({ length: 256 }, (_, octet) => octet));
  writeFileSync(path, octets);
  chmodSync(path, 0o640);
  const { text, created } = await add('alice');
  expect(readFileSync(path)).toEqual(Buffer.concat([octets, Buffer.from('\nalice:x\n')]));
  await expect(readUsers(path)).resolves.toBe(text);
  expect(created).toBe(false);
  expect(statSync(path).mode & 0o7777).toBe(0o640);
  expect(readdirSync(dir)).toEqual(['users']);
});

test('who has the old file open sees it whole: it is replaced, not written to', async () => {
  writeFileSync(path, 'bob:x\n');
  const before = statSync(path).ino;
  const fd = openSync(path, 'r');
  await add('alice');
  expect(readFileSync(fd, 'latin1')).toBe('bob:x\n');
  closeSync(fd);
  expect(statSync(path).ino).not.toBe(before);
});

test('an edit that changes nothing writes nothing', async () => {
  writeFileSync(path, 'bob:x\n');
  const { ino, ctimeMs } = statSync(path);
  await edit(text => text);
  expect(statSync(path)).toMatchObject({ ino, ctimeMs });
});

test.skipIf(!IS_ROOT)('owner and group stay', async () => {
  writeFileSync(path, '');
  chownSync(path, 1234, 4321);
  chmodSync(path, 0o440);
  await add('alice');
  expect(statSync(path)).toMatchObject({ uid: 1234, gid: 4321 });
  expect(statSync(path).mode & 0o7777).toBe(0o440);
});

test('a symbolic link stays one; its target is replaced', async () => {
  mkdirSync(join(dir, 'elsewhere'));
  writeFileSync(join(dir, 'elsewhere/real'), 'bob:x\n');
  symlinkSync('elsewhere/real', path);
  expect(await add('alice')).toMatchObject({ path: join(dir, 'elsewhere/real') });
  expect(lstatSync(path).isSymbolicLink()).toBe(true);
  expect(readFileSync(join(dir, 'elsewhere/real'), 'latin1')).toBe('bob:x\nalice:x\n');
});

describe('a missing file', () => {
  test('is made with mode 0600 and the owner of its directory, when asked for', async () => {
    if (IS_ROOT) chownSync(dir, 1234, 4321);
    expect(await add('alice', true)).toMatchObject({ created: true });
    expect(readFileSync(path, 'latin1')).toBe('alice:x\n');
    const { uid, gid } = statSync(dir);
    expect(statSync(path)).toMatchObject({ uid, gid });
    expect(statSync(path).mode & 0o7777).toBe(0o600);
  });

  test.each([
    ['file', 'users'],
    ['directory', 'none/users'],
  ])('%s: is an error when not', async (_, name) => {
    const failure = edit(text => `${text}x`, name !== 'users', join(dir, name));
    await expect(failure).rejects.toThrow(
      new UsageError(`users file ${join(dir, name)}: no such file`, EX.NOINPUT),
    );
    expect(readdirSync(dir)).toEqual([]);
  });

  test('a link that leads nowhere is left alone', async () => {
    symlinkSync('nowhere', path);
    await expect(add('alice', true)).rejects.toThrow(/no such file/);
    expect(readdirSync(dir)).toEqual(['users']);
    expect(existsSync(path)).toBe(false);
  });
});

test('eight at once lose none', async () => {
  const names = Array.from({ length: 8 }, (_, n) => `user${n}`);
  await Promise.all(names.map(name => add(name, true)));
  expect(readFileSync(path, 'latin1').trim().split('\n').sort()).toEqual(names.map(name => `${name}:x`));
});

test('what an editor saved meanwhile is not overwritten: the edit begins again', async () => {
  writeFileSync(path, 'bob:x\n');
  let saved = false;
  await edit(text => {
    if (!saved) appendFileSync(path, 'carol:x\n');
    saved = true;
    return withUser(text, ['alice', 'x']);
  });
  expect(readFileSync(path, 'latin1')).toBe('bob:x\ncarol:x\nalice:x\n');
  expect(readdirSync(dir)).toEqual(['users']);
});

test('an edit that throws changes nothing, and gives the lock back', async () => {
  writeFileSync(path, 'bob:x\n');
  const failing = edit(() => {
    throw new UsageError('no user', EX.NOUSER);
  });
  await expect(failing).rejects.toThrow('no user');
  expect(readFileSync(path, 'latin1')).toBe('bob:x\n');
  await add('alice');
  expect(readdirSync(dir)).toEqual(['users']);
});

test('what a crash left behind is in nobody’s way', async () => {
  writeFileSync(path, 'bob:x\n');
  writeFileSync(join(dir, '.users.new'), 'half a fi');
  await add('alice');
  expect(readFileSync(path, 'latin1')).toBe('bob:x\nalice:x\n');
  expect(readdirSync(dir)).toEqual(['users']);
});

test('a directory is no users file, which is said in one line', async () => {
  mkdirSync(path);
  const expected = new UsageError(`users file ${path}: not a regular file`, EX.IOERR);
  await expect(add('alice')).rejects.toEqual(expected);
  await expect(readUsers(path)).rejects.toEqual(expected);
});

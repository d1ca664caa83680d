// The users file on a real file system: opening, and every way in which it changes under the server.
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { UsersFile } from '../../lib/auth/users-file.js';
import { EX, Unavailable, UsageError } from '../../lib/errors.js';
import { linuxHost } from '../../lib/host/linux.js';
import { formatLine, type Log } from '../../lib/log.js';

const bytes = (text: string) => Buffer.from(text);
const isRoot = process.geteuid?.() === 0;
if (isRoot) console.warn('auth-users-file.test.ts: unreadable files are not tested: root reads everything');

let dir: string;
let path: string;
let users: UsersFile | undefined;
let lines: string[];
const log: Log = {
  write: (level, who, event, fields) => lines.push(`${level} ${formatLine(who, event, fields)}`),
};

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'users-file-'));
  path = join(dir, 'users');
  lines = [];
});
afterEach(async () => {
  await users?.close();
  users = undefined;
  rmSync(dir, { recursive: true });
});

async function open(content: string, watch = false): Promise<UsersFile> {
  writeFileSync(path, content);
  users = await UsersFile.open({ path, host: linuxHost, log, watch });
  return users;
}
const letsIn = async (user: string, password: string) =>
  'account' in (await users!.checkPassword(bytes(user), bytes(password)));
/** Replaces the file as `user passwd` and careful editors do: nobody ever sees half of it. */
function replace(content: string): void {
  writeFileSync(`${path}.new`, content);
  renameSync(`${path}.new`, path);
}

describe('opening', () => {
  test('names each malformed line and lets everybody else in', async () => {
    await open('alice:{PLAIN}a\n../bob:x\ncarol:{PLAIN}c\nroot:{PLAIN}r:0\n');
    expect(lines).toEqual([
      `warn - users-line at=${path}:2 reason="not a user name before the first colon"`,
      `warn - users-line at=${path}:4 reason="uid 0 is not allowed"`,
      `info - users-file file=${path} users=3 problems=2`,
    ]);
    expect(await letsIn('alice', 'a')).toBe(true);
    expect(await letsIn('carol', 'c')).toBe(true);
    expect(await letsIn('root', 'r')).toBe(false);
  });

  test('a file that is no users file does not fill the log', async () => {
    await open('nonsense\0\n'.repeat(5000));
    expect(lines).toHaveLength(21);
    expect(lines.at(-1)).toContain('problems=5000');
  });

  const refusal = async (file: string): Promise<UsageError> => {
    const error = await UsersFile.open({ path: file, host: linuxHost, log, watch: false }).catch(
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(UsageError);
    return error as UsageError;
  };

  test('a missing file is EX_NOINPUT, in one line that names it', async () => {
    const { message, exitCode } = await refusal(path);
    expect([message, exitCode]).toEqual([`users file ${path}: no such file`, EX.NOINPUT]);
  });

  test.skipIf(isRoot)('an unreadable file is EX_NOPERM', async () => {
    writeFileSync(path, '');
    chmodSync(path, 0);
    const { message, exitCode } = await refusal(path);
    expect([message, exitCode]).toEqual([`users file ${path}: permission denied`, EX.NOPERM]);
  });

  test('a directory or a FIFO is EX_NOINPUT, without waiting for a writer', async () => {
    mkdirSync(path);
    expect((await refusal(path)).message).toBe(`users file ${path}: not a regular file`);
    const fifo = join(dir, 'fifo');
    expect(spawnSync('mkfifo', [fifo]).status).toBe(0);
    expect((await refusal(fifo)).message).toBe(`users file ${fifo}: not a regular file`);
  });
});

describe('a change is seen at the next login, without a watcher', () => {
  test('written in place', async () => {
    await open('alice:{PLAIN}old\n');
    expect(await letsIn('alice', 'old')).toBe(true);
    writeFileSync(path, 'alice:{PLAIN}new\n');
    expect(await letsIn('alice', 'old')).toBe(false);
    expect(await letsIn('alice', 'new')).toBe(true);
  });

  test('replaced by rename, with the same size and times', async () => {
    await open('alice:{PLAIN}old\n');
    utimesSync(path, 1_000_000, 1_000_000);
    expect(await letsIn('alice', 'old')).toBe(true);
    replace('alice:{PLAIN}new\n');
    utimesSync(path, 1_000_000, 1_000_000);
    expect(await letsIn('alice', 'old')).toBe(false);
    expect(await letsIn('alice', 'new')).toBe(true);
  });

  test('changed straight after it was opened', async () => {
    await open('alice:{PLAIN}old\n');
    writeFileSync(path, 'alice:{PLAIN}new\n');
    expect(await letsIn('alice', 'old')).toBe(false);
  });

  test('half-written: nobody is told "wrong" before the writer has finished', async () => {
    await open('alice:{PLAIN}a\nbob:{PLAIN}b\n');
    expect(await letsIn('bob', 'b')).toBe(true);
    writeFileSync(path, '');
    const login = letsIn('bob', 'b');
    setImmediate(() => appendFileSync(path, 'alice:{PLAIN}a\n'));
    setTimeout(() => appendFileSync(path, 'bob:{PLAIN}b\n'), 5);
    expect(await login).toBe(true);
  });

  test('touched: the bad lines are not named again', async () => {
    await open('alice:{PLAIN}a\nbroken\n');
    expect(await letsIn('alice', 'a')).toBe(true);
    utimesSync(path, 1_000_000, 1_000_000);
    expect(await letsIn('alice', 'a')).toBe(true);
    expect(lines).toHaveLength(2);
  });

  test('many logins at once after a change read it once', async () => {
    await open('alice:{PLAIN}old\n');
    replace('alice:{PLAIN}new\n');
    const logins = await Promise.all(Array.from({ length: 20 }, () => letsIn('alice', 'new')));
    expect(logins).toEqual(Array(20).fill(true));
    expect(lines.filter(line => line.includes('users-file '))).toHaveLength(2);
  });
});

describe('a file that is gone', () => {
  test('is [SYS/TEMP] for everybody, neither "wrong" nor "ok", until it is back; logged once', async () => {
    await open('alice:{PLAIN}a\n');
    unlinkSync(path);
    for (const [user, password] of [
      ['alice', 'a'],
      ['alice', 'wrong'],
      ['mallory', 'x'],
    ] as const) {
      const error = await users!.checkPassword(bytes(user), bytes(password)).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(Unavailable);
      expect(error).toMatchObject({ code: 'SYS/TEMP', fatal: false });
      const proof = { method: 'APOP', user: bytes(user), challenge: '<1@h>', digest: 'x' } as const;
      await expect(users!.checkProof(proof)).rejects.toThrow(Unavailable);
      await expect(users!.scramChallenge('SCRAM-SHA-256', bytes(user))).rejects.toThrow(Unavailable);
      await expect(users!.provable()).rejects.toThrow(Unavailable);
    }
    expect(lines.slice(1)).toEqual([`error - users-file-unavailable file=${path} reason="no such file"`]);
    replace('alice:{PLAIN}b\n');
    expect(await letsIn('alice', 'a')).toBe(false);
    expect(await letsIn('alice', 'b')).toBe(true);
    expect(lines.at(-1)).toBe(`info - users-file-back file=${path}`);
  });

  test('or became a directory, likewise', async () => {
    await open('alice:{PLAIN}a\n');
    unlinkSync(path);
    mkdirSync(path);
    await expect(letsIn('alice', 'a')).rejects.toThrow(Unavailable);
  });

  test.skipIf(isRoot)('or may no longer be read, likewise', async () => {
    await open('alice:{PLAIN}a\n');
    chmodSync(path, 0);
    await expect(letsIn('alice', 'a')).rejects.toThrow(Unavailable);
  });
});

describe('watching', () => {
  const logged = (text: string) =>
    vi.waitFor(() => expect(lines.some(line => line.includes(text))).toBe(true), {
      timeout: 30_000,
      interval: 20,
    });

  test('a change is read, and its bad lines named, without a login', async () => {
    await open('alice:{PLAIN}a\n', true);
    writeFileSync(path, 'alice:{PLAIN}a\nbob:{PLAIN}b\nbroken\n');
    await logged(`${path}:3`);
    expect(await letsIn('bob', 'b')).toBe(true);
  });

  test('so is each of several replacements by rename, and a removal', async () => {
    await open('alice:{PLAIN}a\n', true);
    for (const count of [2, 3, 4]) {
      replace(Array.from({ length: count }, (_, n) => `user${n}:{PLAIN}x\n`).join(''));
      await logged(`users=${count} `);
    }
    unlinkSync(path);
    await logged('users-file-unavailable');
    replace('alice:{PLAIN}a\n');
    await logged('users-file-back');
  });

  test('after close, nothing is read any more, and close may be called twice', async () => {
    const file = await open('alice:{PLAIN}a\n', true);
    await file.close();
    await file.close();
    expect(await letsIn('alice', 'a')).toBe(true);
  });
});

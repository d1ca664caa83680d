/**
 * What a dotlock of ours says is replaced without anybody seeing another time at it: proper-lockfile compares that with
 * the one it knows, to the millisecond, and would tell that the lock is lost, in the middle of an UPDATE.
 */
import { constants, mkdtempSync, openSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { linuxHost as host } from '../../lib/host/linux.js';
import { lookNow } from '../../lib/maildrop/io.js';
import { ownerLine, updateIdOf } from '../../lib/maildrop/lock-line.js';
import { OwnDotlock } from '../../lib/maildrop/own-dotlock.js';

/** Seconds: as a file system has it, and as utimes(2) was given it by way of a floating-point number. */
test.each([1.7e9, 1.7e9 + 0.0004, 1.7e9 + 0.0007, 1.7e9 + 0.1239999])('keeps a time of %d s', async made => {
  const dir = mkdtempSync(join(tmpdir(), 'mbox-pop3d-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const mailbox = join(dir, 'alice');
  writeFileSync(`${mailbox}.lock`, ownerLine());
  utimesSync(`${mailbox}.lock`, made, made);
  const fd = openSync(`${mailbox}.lock`, constants.O_WRONLY);
  const own = OwnDotlock.takeOver(`${mailbox}.lock`, mailbox, fd, lookNow(host, fd), [], host);
  const { mtime } = await own.look(true);
  own.nameUpdate(updateIdOf(Buffer.alloc(16)));
  expect(await own.look(true)).toEqual({ mtime });
  own.nameOwner();
  expect(await own.look(true)).toEqual({ mtime });
  own.close();
});

// What a killed process leaves in the spool beside its locks is removed, and nothing else that looks like it.
import { spawnSync } from 'node:child_process';
import {
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadHost } from '../../lib/host/load.js';
import { removeDeadLockFiles } from '../../lib/maildrop/dead-lock-files.js';
import { scratchDir } from '../support/mailbox.js';
import { IS_ROOT } from '../support/program.js';

/** A pid that no process has. */
const DEAD = spawnSync('true').pid;
const HERE = hostname();
const NAME = `.alice.lock.${HERE}.${DEAD}.1`;
const LINE = `${DEAD}:${HERE}\n`;

async function removedFrom(spool: string): Promise<string[]> {
  const { host } = await loadHost();
  return (await removeDeadLockFiles(spool, host)).sort();
}

test('those of dead processes go, whose mailbox they lie beside or not; an empty spool has none', async () => {
  const spool = scratchDir();
  expect(await removedFrom(spool)).toEqual([]);
  const names = [NAME, `.alice.lock.${HERE}.${DEAD}.22`, `.no.lock.here.lock.${HERE}.${DEAD}.3`];
  for (const name of names) writeFileSync(join(spool, name), LINE);
  writeFileSync(join(spool, 'alice'), '');
  expect(await removedFrom(spool)).toEqual(names.sort());
  expect(readdirSync(spool)).toEqual(['alice']);
  expect(await removedFrom(join(spool, 'none'))).toEqual([]);
});

/** What is left alone: how it is made in a spool. */
const KEPT: Record<string, (spool: string) => void> = {
  'of a process that exists': spool =>
    writeFileSync(join(spool, `.alice.lock.${HERE}.${process.pid}.1`), `${process.pid}:${HERE}\n`),
  'of a process that we may not signal': spool =>
    writeFileSync(join(spool, `.alice.lock.${HERE}.1.1`), `1:${HERE}\n`),
  'of another host, by its name': spool => writeFileSync(join(spool, `.alice.lock.x${HERE}.${DEAD}.1`), LINE),
  'of another host, by what it says': spool => writeFileSync(join(spool, NAME), `${DEAD}:x${HERE}\n`),
  'of another process, by what it says': spool =>
    writeFileSync(join(spool, NAME), `${process.pid}:${HERE}\n`),
  'that says nothing': spool => writeFileSync(join(spool, NAME), ''),
  'that says more': spool => writeFileSync(join(spool, NAME), `${LINE}\n`),
  'that says less': spool => writeFileSync(join(spool, NAME), LINE.trimEnd()),
  'with another name': spool => {
    writeFileSync(join(spool, NAME), LINE);
    linkSync(join(spool, NAME), join(spool, 'alice.lock'));
  },
  'that is a directory': spool => mkdirSync(join(spool, NAME)),
  'that is a symbolic link': spool => {
    writeFileSync(join(spool, 'target'), LINE);
    symlinkSync('target', join(spool, NAME));
  },
  'that is a FIFO': spool => spawnSync('mkfifo', [join(spool, NAME)]),
  'that is the lock itself': spool => writeFileSync(join(spool, 'alice.lock'), LINE),
  'that is a mailbox': spool => writeFileSync(join(spool, NAME.slice(1)), LINE),
  'that is of no mailbox': spool => writeFileSync(join(spool, `..lock.${HERE}.${DEAD}.1`.slice(1)), LINE),
  'with a number that is none': spool => writeFileSync(join(spool, `.alice.lock.${HERE}.${DEAD}.1x`), LINE),
  'with no number': spool => writeFileSync(join(spool, `.alice.lock.${HERE}.${DEAD}`), LINE),
  'with a pid that is none': spool => writeFileSync(join(spool, `.alice.lock.${HERE}.0${DEAD}.1`), LINE),
};

test.each(Object.keys(KEPT))('kept: one %s', async what => {
  const spool = scratchDir();
  KEPT[what]!(spool);
  const before = readdirSync(spool);
  expect(await removedFrom(spool)).toEqual([]);
  expect(readdirSync(spool)).toEqual(before);
  expect(before).not.toEqual([]);
});

test.skipIf(!IS_ROOT)('kept: one of another user (only root can make one)', async () => {
  const spool = scratchDir();
  writeFileSync(join(spool, NAME), LINE);
  chownSync(join(spool, NAME), 65534, 65534);
  expect(await removedFrom(spool)).toEqual([]);
  expect(statSync(join(spool, NAME)).uid).toBe(65534);
});

test('one that goes while the spool is read is no trouble', async () => {
  const spool = scratchDir();
  writeFileSync(join(spool, NAME), LINE);
  // Asked for each name, before any is looked at.
  const host = {
    processExists: () => {
      renameSync(join(spool, NAME), join(spool, 'elsewhere'));
      return false;
    },
  };
  expect(await removeDeadLockFiles(spool, host)).toEqual([]);
  expect(readdirSync(spool)).toEqual(['elsewhere']);
});

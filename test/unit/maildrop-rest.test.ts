// A session that lets its descriptors go while it is idle, and opens the mailbox file again.
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, rmSync } from 'node:fs';
import { expect, test } from 'vitest';
import { linuxHost } from '../../lib/host/linux.js';
import { Blocks } from '../../lib/maildrop/blocks.js';
import { nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';
import { mailboxLocker } from '../../lib/maildrop/locks.js';
import { MailboxAccess } from '../../lib/maildrop/mailbox-access.js';
import { MailboxFile } from '../../lib/maildrop/mailbox-file.js';
import { Rest } from '../../lib/maildrop/rest.js';
import { messages, type Spool, spoolWith } from '../support/mailbox.js';

const owner = process.geteuid!();

/** The access of a session for which descriptors are always scarce. */
async function scarce(spool: Spool): Promise<{ access: MailboxAccess; rest: Rest }> {
  const access = await MailboxAccess.open(spool.mailbox, {
    io: nodeIo,
    owner,
    writable: true,
    lockMailbox: mailboxLocker({ host: linuxHost, methods: ['fcntl'], onLost: () => {} }),
    lockTimeout: 0,
    onError: error => expect.fail(String(error)),
  });
  if (access === undefined) throw new Error('no mailbox');
  const descriptors = { scarce: true, rest: () => {}, wake: async () => {} };
  const rest = new Rest(descriptors, new Blocks(), () => access.file.letGo());
  access.file.rest = rest;
  return { access, rest };
}

/** Idle for long enough. */
async function idle(rest: Rest): Promise<void> {
  for (let i = 0; i < 3; i++) rest.tick();
  await new Promise(setImmediate);
}

function isLockedForOthers(path: string): boolean {
  const fd = openSync(path, 'r+');
  try {
    return !linuxHost.lockOpenFile(fd, 'write');
  } finally {
    closeSync(fd);
  }
}

test('the file is closed once the locks are given back, and opened again for use', async () => {
  const { access, rest } = await scarce(spoolWith(messages(2).join('')));
  access.yield();
  await new Promise(setImmediate);
  await idle(rest);
  expect(() => access.file.fd).toThrow('closed');
  expect((await access.file.read(0, 5)).toString()).toBe('From ');
  expect(access.file.fd).toBeGreaterThan(2);
  await access.close();
  await expect(access.file.stat()).rejects.toThrow('closed');
});

test('the locks that UPDATE has taken again are on an open file to the end, however long it takes', async () => {
  const spool = spoolWith(messages(2).join(''));
  const { access, rest } = await scarce(spool);
  access.yield();
  await new Promise(setImmediate);
  await rest.use(() => access.relock());
  const { fd } = access.file;
  await idle(rest);
  expect(access.file.fd).toBe(fd);
  expect(isLockedForOthers(spool.mailbox)).toBe(true);
  await access.close();
  expect(isLockedForOthers(spool.mailbox)).toBe(false);
});

test('what has taken its name meanwhile is looked at before it is opened, every time', async () => {
  const spool = spoolWith(messages(2).join(''));
  let opens = 0;
  const io: SpoolIo = {
    ...nodeIo,
    open: (...call) => {
      opens++;
      return nodeIo.open(...call);
    },
  };
  const named = Promise.resolve(nodeIo.lstat(spool.mailbox));
  const file = await MailboxFile.open(io, spool.mailbox, { owner, writable: true, named });
  await file?.letGo();
  rmSync(spool.mailbox);
  execFileSync('mkfifo', [spool.mailbox]);
  await expect(file?.stayOpen()).rejects.toMatchObject({
    code: 'SYS/PERM',
    cause: { message: 'it is not a regular file' },
  });
  expect(opens).toBe(1);
});

// Names that mail programs give to files in a spool, and names of users that look a little like them.
import { hostname } from 'node:os';
import { expect, test } from 'vitest';
import { isUserName } from '../../lib/auth/user-name.js';
import { otherFile } from '../../lib/maildrop/other-files.js';

const HERE = hostname();

/** As strace(1) has shown them of Debian's programs, or as their sources make them. */
test.each([
  ['_gVE,n-tArB.vm', 'procmail'],
  ['_gVE.n-tArB.vm.example.org', 'procmail'],
  ['_B+tArB.vm', 'procmail'],
  ['alice.lock.vm.example.org.6741a2c5.0000445e', 'Exim'],
  ['alice.lock.1795343239.17503.vm', 'alpine'],
  [`alice.${HERE}.17954`, 'mutt'],
  [`alice.b.${HERE.split('.')[0]}.17954`, 'mutt'],
  ['.lk177698vm', 'liblockfile'],
  ['.lk04711fmail', 'liblockfile'],
  ['.temp.vm.17971.0123abcd', 'Dovecot'],
  ['.nfs0000000000a3b5c700000012', 'NFS'],
  ['BOGUS.alice.uBx', 'procmail has put aside'],
  ['.alice.pop', 'qpopper was serving'],
  ['.alice.cache', 'qpopper'],
  ['lost+found', 'file system'],
])('%s is of %s', (name, whose) => {
  expect(otherFile(name)?.what).toContain(whose);
});

test.each([
  'alice',
  'alice.smith',
  'alice.smith.1970',
  'alice@example.org',
  'j.doe@mail.example.org',
  `alice@${HERE}`,
  `alice.${HERE}`,
  `${HERE}.1234`,
  '_apt',
  '_apt.user',
  'bogus',
  'bogus.alice',
  'locksmith',
  'alice.locksmith.1',
  'lost',
])('%s may be a user', name => {
  expect(isUserName(name)).toBe(true);
  expect(otherFile(name)).toBeUndefined();
});

test('what may hold mail', () => {
  expect(
    ['.alice.pop', 'BOGUS.alice.x', '.lk177698vm', 'lost+found'].map(name => otherFile(name)?.mayHoldMail),
  ).toEqual([true, true, false, false]);
});

/**
 * `mbox-pop3d check` on a spool full of trouble, and what a login makes of the same locks: each trouble is
 * named with its remedy, and nothing is changed.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { leftByOthers } from '../support/left-by-others.js';
import { message, messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT, run } from '../support/program.js';
import { HOLD_FCNTL_LOCK, python } from '../support/python.js';
import { passwordOf } from '../support/real-server.js';
import { SERVED_BY, type ServePlaces, servePlaces, serving } from '../support/serving.js';

const MAIL = messages(2).join('');

async function check(places: ServePlaces, names: readonly string[] = []) {
  const { spool, users, state } = places;
  const { code, stdout, stderr } = await run([
    'check',
    '--spool',
    spool,
    '--users',
    users,
    '--state-dir',
    state,
    ...names,
  ]);
  expect(stderr).toBe('');
  return { code, stdout };
}

/** What is said of one user. */
const about = (stdout: string, user: string) =>
  new RegExp(`^${user}:\\n((?:  .*\\n)*)`, 'm').exec(stdout)?.[1];

/** A pid that no process has. */
const DEAD = spawnSync('true').pid;

/** Locks in the way: what makes them, what `check` says, and whether a login gets past. */
const LOCKS: Record<string, { make: (path: string) => void; says: RegExp; login: 'in' | 'IN-USE' }> = {
  dead: {
    make: path => writeFileSync(path, `${DEAD}:${hostname()}\n`),
    says: /TROUBLE: .*a lock of process \d+, which does not exist any more.*\n {4}remedy: none needed: the next login/,
    login: 'in',
  },
  live: {
    make: path => writeFileSync(path, `${process.pid}\n`),
    says: new RegExp(`^ {2}[^T].*a lock of process ${process.pid} \\(node`, 'm'),
    login: 'IN-USE',
  },
  silent: {
    make: path => writeFileSync(path, ''),
    says: /a lock that says nothing.*taken for stale in \d+ s/,
    login: 'IN-USE',
  },
  elsewhere: {
    make: path => writeFileSync(path, `${DEAD}:another.example.com\n`),
    says: /a lock of "\d+:another\.example\.com", no process of this host.*taken for stale in \d+ s/,
    login: 'IN-USE',
  },
  interrupted: {
    make: path => writeFileSync(path, `mbox-pop3d UPDATE ${'0'.repeat(32)}\n`),
    says: /TROUBLE: .*the lock of an UPDATE that is rewriting the mailbox, .*cut off\n {4}remedy: the next login finishes it, at once\. Or: mbox-pop3d recover interrupted\./,
    // A journal that it names there is not.
    login: 'IN-USE',
  },
  directory: {
    make: path => mkdirSync(path),
    says: /TROUBLE: .*no regular file.*\n {4}remedy: look at it/,
    login: 'IN-USE',
  },
  symlink: {
    make: path => symlinkSync('/nonexistent', path),
    says: /TROUBLE: .*no regular file/,
    login: 'IN-USE',
  },
  fifo: { make: path => spawnSync('mkfifo', [path]), says: /TROUBLE: .*no regular file/, login: 'IN-USE' },
  unreadable: {
    make: path => {
      writeFileSync(path, '1:x\n', { mode: 0o000 });
      if (IS_ROOT) chownSync(path, 0, 0);
    },
    // Root reads it all the same.
    says: IS_ROOT
      ? /a lock of "1:x", no process of this host, made by uid 0/
      : /a lock that says nothing, or may not be read/,
    login: 'IN-USE',
  },
};

describe('locks in the way', () => {
  const users = Object.keys(LOCKS);

  test('each is named with its remedy, and left alone', async () => {
    const places = servePlaces(Object.fromEntries(users.map(user => [user, MAIL])));
    for (const user of users) LOCKS[user]!.make(`${places.mailbox(user)}.lock`);
    const before = readdirSync(places.spool);
    const { code, stdout } = await check(places);
    for (const user of users) {
      expect(about(stdout, user)).toMatch(LOCKS[user]!.says);
      expect(about(stdout, user)).toMatch(/2 messages, \d+ octets/);
    }
    expect(code).toBe(1);
    expect(readdirSync(places.spool)).toEqual(before);
    expect(existsSync(places.state)).toBe(false);
  });

  test('a login breaks that of a dead process, waits for the others, and removes none of them', async () => {
    const places = servePlaces(Object.fromEntries(users.map(user => [user, MAIL])));
    for (const user of users) LOCKS[user]!.make(`${places.mailbox(user)}.lock`);
    const { port } = await serving(places, ['--lock-timeout', '1']);
    await Promise.all(
      users.map(async user => {
        const client = await Pop3Client.greeted(port);
        await client.ok(`USER ${user}`);
        const reply = await client.ask(`PASS ${passwordOf(user)}`);
        expect(reply, user).toMatch(LOCKS[user]!.login === 'in' ? /^\+OK/ : /^-ERR \[IN-USE\]/);
        await client.ok('QUIT');
      }),
    );
    const left = readdirSync(places.spool).filter(name => name.endsWith('.lock'));
    expect(left.sort()).toEqual(
      users
        .filter(user => user !== 'dead')
        .map(user => `${user}.lock`)
        .sort(),
    );
  });
});

test('a spool in order: nothing to do', async () => {
  const places = servePlaces({ alice: MAIL, bob: '' });
  const { code, stdout } = await check(places);
  expect(stdout).toMatch(
    /^alice:\n {2}2 messages, \d+ octets in the file\nbob:\n {2}0 messages, 0 octets in the file\n2 mailboxes, 0 troubles\n$/m,
  );
  expect(code).toBe(0);
});

test('mailbox files that are none, or not as they should be', async () => {
  const from = 'From a@example.com Mon Jan  5 10:00:00 2026\n';
  const places = servePlaces({
    junk: 'Dear diary\n',
    glued: message(1).trimEnd(),
    forged: `${from}A: b\n\nsome text\n${from}more text\n`,
    open: MAIL,
    twin: MAIL,
    kept: MAIL,
  });
  chmodSync(places.mailbox('open'), 0o666);
  linkSync(places.mailbox('twin'), join(places.root, 'other'));
  symlinkSync('/etc/passwd', join(places.spool, 'link'));
  mkdirSync(join(places.spool, 'dir'));
  writeFileSync(join(places.spool, '.kept.lock.host.77.1'), '');
  writeFileSync(join(places.spool, 'no user name'), '');
  const { code, stdout } = await check(places);
  expect(about(stdout, 'junk')).toMatch(
    /TROUBLE: not in mbox format: at offset 0 .*\n {4}remedy: every login is refused/,
  );
  expect(about(stdout, 'glued')).toMatch(/TROUBLE: its last line has no end/);
  expect(about(stdout, 'forged')).toMatch(
    /1 messages.*\n {2}TROUBLE: 1 From_ lines that follow no empty line, the first at offset 60:/,
  );
  expect(about(stdout, 'open')).toMatch(/TROUBLE: mode 0666.*\n {4}remedy: chmod o-rwx/);
  expect(about(stdout, 'twin')).toMatch(/refused: it has 2 links\n {4}remedy: find its other names/);
  expect(about(stdout, 'link')).toMatch(/refused: it is a symbolic link/);
  expect(about(stdout, 'dir')).toMatch(/refused: it is not a regular file/);
  expect(about(stdout, 'kept')).toMatch(/\.kept\.lock\.host\.77\.1: left by a process/);
  expect(stdout).toContain('"no user name" is no user name');
  expect(stdout).toMatch(/\n8 mailboxes, 8 troubles\n$/);
  expect(code).toBe(1);
});

test('files of other programs: what they are; mail may be in some; one that is a user has a mailbox', async () => {
  const places = servePlaces({ alice: MAIL, 'bob.lock.a.b': MAIL });
  for (const name of leftByOthers('alice')) writeFileSync(join(places.spool, name), '');
  const { code, stdout } = await check(places);
  for (const name of leftByOthers('alice'))
    expect(stdout).toContain(`\n  ${JSON.stringify(name)} is no mailbox: `);
  expect(stdout).toMatch(/\n2 mailboxes, 0 troubles\n$/);
  expect(about(stdout, 'bob.lock.a.b')).toMatch(/2 messages/);
  expect(code).toBe(0);

  for (const name of ['.alice.pop', 'BOGUS.alice.x']) writeFileSync(join(places.spool, name), MAIL);
  const { stdout: withMail } = await check(places);
  expect(withMail).toMatch(/TROUBLE: "\.alice\.pop" .* qpopper was serving, of \d+ octets\n {4}remedy: look/);
  expect(withMail).toMatch(
    /TROUBLE: "BOGUS\.alice\.x" .* procmail has put aside, of \d+ octets\n {4}remedy: look/,
  );
  expect(withMail).toMatch(/\n2 mailboxes, 2 troubles\n$/);
});

test.skipIf(!IS_ROOT)("one that is nobody's, to root, who never has a mailbox", async () => {
  const places = servePlaces({ alice: MAIL });
  writeFileSync(join(places.spool, 'ghost.of.alice'), MAIL);
  const { stdout } = await check(places);
  expect(about(stdout, 'ghost.of.alice')).toMatch(
    /refused: it is owned by uid 0, and no user of this name may have one\n {4}remedy: no user of this name/,
  );
});

test('who has it: a session, the kernel lock of another program', async () => {
  const places = servePlaces({ alice: MAIL, bob: MAIL });
  const { port, server } = await serving(places);
  await Pop3Client.loggedIn(port, 'alice', passwordOf('alice'));
  const holder = await python(HOLD_FCNTL_LOCK, places.mailbox('bob'));
  const { stdout } = await check(places, ['alice', 'bob']);
  expect(about(stdout, 'alice')).toMatch(new RegExp(`alice\\.lock: a lock of process ${server.pid} \\(node`));
  expect(about(stdout, 'alice')).toMatch(new RegExp(`fcntl lock for writing of process ${server.pid} `));
  expect(about(stdout, 'alice')).toMatch(
    new RegExp(`a POP3 session since \\S+ from 127\\.0\\.0\\.1, process ${server.pid}`),
  );
  expect(about(stdout, 'bob')).toMatch(
    new RegExp(`fcntl lock for writing of process ${holder.pid} \\(python`),
  );
});

test('what an UPDATE left: journals that are none, and those kept aside', async () => {
  const places = servePlaces({ alice: MAIL });
  const dir = join(places.state, 'alice');
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeFileSync(join(dir, 'journal'), Buffer.alloc(8192, 'x'), { mode: 0o600 });
  writeFileSync(join(dir, 'journal.conflict'), 'x', { mode: 0o600 });
  for (const path of [dir, join(dir, 'journal')]) chownSync(path, SERVED_BY.uid, SERVED_BY.gid);
  const { code, stdout } = await check(places, ['alice']);
  expect(about(stdout, 'alice')).toMatch(
    /journal is not a journal to act on: .*\n {4}remedy: mbox-pop3d recover alice/,
  );
  expect(about(stdout, 'alice')).toMatch(/journal\.conflict: kept for you/);
  expect(code).toBe(1);
  expect(readFileSync(join(dir, 'journal'))).toHaveLength(8192);
});

test('mistakes: a name that is none, a users file that is not there', async () => {
  const places = servePlaces({ alice: MAIL });
  expect(await run(['check', '--spool', places.spool, '../alice'])).toMatchObject({ code: 64 });
  const { code, stderr } = await run(['check', '--users', join(places.root, 'none')]);
  expect([code, stderr]).toEqual([66, expect.stringContaining('users file')]);
});

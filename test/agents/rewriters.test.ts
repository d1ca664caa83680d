/**
 * mutt and Dovecot, which rewrite the mailbox themselves: they wait for a session as delivery agents do, a session whose
 * mailbox they have rewritten deletes nothing, and what each has deleted or marked stays so for the others.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { testAsRoot } from '../doors/as-root.js';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { AgentHost, PASSWORD } from './agent-host.js';
import { Imap, startDovecot } from './dovecot.js';
import { mutt, takeOut } from './mutt.js';
import { fillMailbox, serve } from './our-server.js';

const USER = 'alice';

async function hostWith(mail: readonly string[]): Promise<AgentHost> {
  const host = await AgentHost.create([USER]);
  onTestFinished(() => host.close());
  fillMailbox(host, USER, mail.join(''));
  return host;
}

const logIn = (port: number) => Pop3Client.loggedIn(port, USER, PASSWORD);

const uniqueIds = async (client: Pop3Client) =>
  (await client.listing('UIDL')).map(line => line.split(' ')[1]!);

/** Subjects of what our server has now. */
async function subjects(port: number): Promise<string[]> {
  const client = await logIn(port);
  const found: string[] = [];
  for (const line of await client.listing('LIST')) {
    const { content } = await client.multiline(`TOP ${line.split(' ')[0]} 0`);
    expect(content.toString('latin1')).not.toMatch(/^(Status|X-Status|X-UID|X-IMAPbase|Content-Length):/im);
    found.push(/^Subject: (.*)\r$/m.exec(content.toString('latin1'))?.[1] ?? '');
  }
  await client.ok('QUIT');
  return found;
}

testAsRoot(
  ['mutt', 'script', 'nsenter'],
  'mutt waits for a session, then rewrites; the session deletes nothing',
  async () => {
    const host = await hostWith(messages(5));
    const port = await serve(host, '--lock-yield=2');
    const session = await logIn(port);
    const before = await uniqueIds(session);
    await session.ok('DELE 4');
    const copy = join(host.root, 'home', USER, 'taken-out');
    await mutt(host, USER, takeOut('~s2', copy));

    expect(readFileSync(copy, 'latin1')).toContain('Subject: message 2\n');
    // RFC 1939 §6: all or nothing, and it says so.
    expect(await session.ask('QUIT')).toMatch(/^-ERR \[SYS\/TEMP\] /);
    expect(await subjects(port)).toEqual(['message 1', 'message 3', 'message 4', 'message 5']);
    // mutt has marked them as old.
    expect(host.content(USER)).toContain('Status: O\n');
    const after = await logIn(port);
    expect(await uniqueIds(after)).toEqual(before.filter((_, i) => i !== 1));
    await after.ok('DELE 3');
    await after.ok('QUIT');

    await mutt(host, USER, takeOut('~s5', `${copy}2`));
    expect(existsSync(`${copy}2`)).toBe(true);
    expect(await subjects(port)).toEqual(['message 1', 'message 3']);
  },
);

testAsRoot(['dovecot', 'nsenter'], 'Dovecot and we read and rewrite one mailbox in turn', async () => {
  const host = await hostWith(messages(6));
  const port = await serve(host, '--lock-yield=2');
  const dovecot = await startDovecot(host);
  const first = await logIn(port);
  const before = await uniqueIds(first);
  await first.ok('DELE 1');

  // Its client marks and deletes: the first waits for our session to yield the locks.
  const imap = await Imap.loggedIn(dovecot.imap, USER);
  await imap.ask('SELECT INBOX');
  await imap.ask('STORE 3 +FLAGS (\\Flagged \\Seen)');
  await imap.ask('STORE 5 +FLAGS (\\Deleted)');
  await imap.ask('EXPUNGE');
  await imap.ask('LOGOUT');
  expect(await first.ask('QUIT')).toMatch(/^-ERR \[SYS\/TEMP\] /);

  const left = [1, 2, 3, 4, 6].map(n => `message ${n}`);
  expect(await subjects(port)).toEqual(left);
  const second = await logIn(port);
  expect(await uniqueIds(second)).toEqual(before.filter((_, i) => i !== 4));
  await second.ok('DELE 1');
  await second.ok('DELE 2');
  await second.ok('QUIT');

  // Dovecot's own POP3 server sees the same, and its flags are where they were.
  const theirs = await logIn(dovecot.pop3);
  expect(await theirs.ok('STAT')).toMatch(/^\+OK 3 /);
  await theirs.ok('DELE 3');
  await theirs.ok('QUIT');
  expect(await subjects(port)).toEqual(['message 3', 'message 4']);
  const again = await Imap.loggedIn(dovecot.imap, USER);
  await again.ask('SELECT INBOX');
  expect(await again.ask('FETCH 1:* (FLAGS)')).toMatch(
    /^\* 1 FETCH \(FLAGS \([^)]*\\Flagged[^)]*\)\)\r\n\* 2 FETCH/m,
  );
  await again.ask('LOGOUT');
});

testAsRoot(
  ['dovecot', 'nsenter'],
  'a session of ours is refused while Dovecot rewrites, and is let in after',
  async () => {
    const host = await hostWith(messages(3));
    const port = await serve(host, '--lock-yield=0');
    const dovecot = await startDovecot(host);
    const imap = await Imap.loggedIn(dovecot.imap, USER);
    await imap.ask('SELECT INBOX');
    // Both at once, again and again: each sees all, or waits.
    for (let round = 0; round < 5; round++) {
      const [listed] = await Promise.all([
        subjects(port),
        imap.ask(`STORE 1:* ${round % 2 ? '-' : '+'}FLAGS (\\Flagged)`),
      ]);
      expect(listed).toEqual(['message 1', 'message 2', 'message 3']);
    }
    await imap.ask('LOGOUT');
  },
);

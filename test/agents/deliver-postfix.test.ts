/** `mbox-pop3d deliver` under a real Postfix, in each of the ways that the manual page shows. */
import { chownSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { testWith } from '../clients/programs.js';
import { message } from '../support/mailbox.js';
import { ALICE, MailHost, mailGroup, QUOTED, TEXT } from './mail-host.js';
import { Postfix } from './postfix.js';

const NEEDS = ['postfix', 'unshare', 'python3'];

/** As in the manual page, with the paths of the test. */
const mailboxCommand = (host: MailHost, flags = '') =>
  `mailbox_command = ${host.deliver} ${flags} -f "$SENDER" "$USER" || exit 75`;
const pipe = (host: MailHost, user: string) =>
  `pop3d unix - n n - 10 pipe\n  flags=DR user=${user} null_sender=\n  argv=${host.deliver} -f \${sender} \${user}\n`;

testWith(NEEDS, 'Postfix, mailbox_command: makes the mailbox, of the user', async () => {
  const host = new MailHost('1777');
  const postfix = await Postfix.start(host, mailboxCommand(host));
  for (const from of ['bob@example.net', '', '"a b"@example.net']) {
    await postfix.send(from, 'alice@example.test', TEXT);
  }
  await postfix.logged(/status=sent \(delivered to command/, 3);
  expect(host.ownership()).toEqual(['600', ALICE.uid, ALICE.gid]);
  expect(host.senders().sort()).toEqual(['MAILER-DAEMON', 'a_b@example.net', 'bob@example.net']);
  expect(host.content().split(QUOTED)).toHaveLength(4);
  expect(host.content().match(/^Return-Path: /gm)).toHaveLength(3);
});

testWith(NEEDS, 'Postfix: what can pass is deferred, then delivered once', async () => {
  const host = new MailHost('1777');
  host.giveMailbox(message(1), 0o600);
  writeFileSync(`${host.mailbox}.lock`, '1\n');
  const postfix = await Postfix.start(host, mailboxCommand(host, '--lock-timeout 0.2'));
  await postfix.send('bob@example.net', 'alice@example.test', TEXT);
  await postfix.logged(/status=deferred .*locked by another program/);
  expect(host.content()).toBe(message(1));
  rmSync(`${host.mailbox}.lock`);
  await postfix.retried(/status=sent \(delivered to command/);
  expect(host.senders()).toEqual(['sender1@example.com', 'bob@example.net']);
});

testWith(NEEDS, 'Postfix: a mistake in main.cf returns no mail', async () => {
  const host = new MailHost('1777');
  const postfix = await Postfix.start(host, mailboxCommand(host, '--no-such-flag'));
  await postfix.send('bob@example.net', 'alice@example.test', TEXT);
  await postfix.logged(/dsn=4.*status=deferred .*Unknown option/);
});

testWith(
  NEEDS,
  'Postfix, mailbox_command in 2775 root:mail: with fcntl, once there is a mailbox',
  async () => {
    const host = new MailHost('2775 root:mail');
    const postfix = await Postfix.start(host, mailboxCommand(host, '--locks fcntl'));
    await postfix.send('bob@example.net', 'alice@example.test', TEXT);
    await postfix.logged(/status=deferred .*mailbox file cannot be created/);
    host.giveMailbox('', 0o600);
    await postfix.retried(/status=sent \(delivered to command/);
    expect(host.content()).toContain(QUOTED);
  },
);

testWith(NEEDS, 'Postfix, ~/.forward: the sender is that of the From_ line', async () => {
  const host = new MailHost('1777');
  const forward = join(host.home, '.forward');
  writeFileSync(forward, `"|${host.deliver} alice || exit 75"\n`);
  chownSync(forward, ALICE.uid, ALICE.gid);
  const postfix = await Postfix.start(host, '');
  await postfix.send('bob@example.net', 'alice@example.test', TEXT);
  await postfix.logged(/status=sent \(delivered to command/);
  expect(host.senders()).toEqual(['bob@example.net']);
});

testWith(NEEDS, 'Postfix, pipe, one account with group mail: to mailboxes of mode 0660', async () => {
  const host = new MailHost('2775 root:mail');
  const postfix = await Postfix.start(host, 'mailbox_transport = pop3d', pipe(host, 'daemon:mail'));
  await postfix.send('bob@example.net', 'alice@example.test', TEXT);
  await postfix.logged(/status=deferred .*mailbox file cannot be created/);
  host.giveMailbox(message(1), 0o660, mailGroup());
  await postfix.retried(/status=sent \(delivered via pop3d/);
  await postfix.send('', 'alice@example.test', TEXT);
  await postfix.logged(/status=sent \(delivered via pop3d/, 2);
  expect(host.ownership()).toEqual(['660', ALICE.uid, mailGroup()]);
  expect(host.senders()).toEqual(['sender1@example.com', 'bob@example.net', 'MAILER-DAEMON']);
  await postfix.send('bob@example.net', 'nobody-of-that-name@example.test', TEXT);
  await postfix.logged(/nobody-of-that-name@.* dsn=5.*status=bounced/);
});

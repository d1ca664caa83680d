/**
 * `mbox-pop3d deliver` as the local mailer of a real sendmail; flags and arguments are those of the manual
 * page. The limits on the load are out of the way: above them sendmail only queues.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect } from 'vitest';
import { testWith } from '../clients/programs.js';
import { ALICE, MailHost, mailGroup, QUOTED, TEXT, until } from './mail-host.js';

const NEEDS = ['sendmail.sendmail', 'm4', 'unshare'];
const MAN = readFileSync(new URL('../../man/mbox-pop3d-deliver.8', import.meta.url), 'latin1');

/** The lines of the manual page, with the command of this test. */
function example(deliver: string): string {
  const block = /^\.Ss sendmail\n[\s\S]*?^\.Bd [^\n]*\n([\s\S]*?)^\.Ed/m.exec(MAN)![1]!;
  const [node] = deliver.split(' ');
  return block
    .replaceAll('\\(ga', '`')
    .replace('/usr/bin/mbox-pop3d', node!)
    .replace('mbox-pop3d deliver', deliver.replace(node!, 'node'));
}

function startSendmail(host: MailHost, flags = '') {
  const sendmail = realpathSync(
    execFileSync('sh', ['-c', 'command -v sendmail.sendmail'], { encoding: 'utf8' }).trim(),
  );
  const cf = resolve(sendmail, '../../../share/sendmail/cf');
  mkdirSync(join(host.root, 'queue'), { mode: 0o700 });
  const services = host.write('switch', 'hosts files\n');
  const mc = host.write(
    'local.mc',
    `divert(0)dnl
OSTYPE(\`linux')dnl
define(\`confDOMAIN_NAME', \`mail.example.test')dnl
define(\`QUEUE_DIR', \`${host.root}/queue')dnl
define(\`STATUS_FILE', \`')dnl
define(\`confPID_FILE', \`${host.root}/pid')dnl
define(\`confSERVICE_SWITCH_FILE', \`${services}')dnl
FEATURE(\`nocanonify')dnl
define(\`confQUEUE_LA', \`1000')dnl
define(\`confDELAY_LA', \`1000')dnl
LOCAL_DOMAIN(\`example.test')dnl
${example(`${host.deliver} ${flags}`)}MAILER(local)dnl
`,
  );
  const made = execFileSync('m4', [`-D_CF_DIR_=${cf}/`, `${cf}/m4/cf.m4`, mc], {
    cwd: `${cf}/cf`,
    encoding: 'utf8',
  });
  // Below a directory that everybody may write, it would not open one.
  const config = host.write('sendmail.cf', made.replace(/^O AliasFile.*$/m, ''));
  return {
    send: (from: string) =>
      host.mustRun([sendmail, '-C', config, '-Am', '-odi', '-oi', '-f', from, 'alice@example.test'], TEXT),
    retry: () => host.mustRun([sendmail, '-C', config, '-Am', '-q']),
    queue: () =>
      readdirSync(join(host.root, 'queue'))
        .filter(name => name.startsWith('qf'))
        .map(name => readFileSync(join(host.root, 'queue', name), 'latin1')),
  };
}

testWith(NEEDS, 'sendmail, local mailer: makes the mailbox, of the user and group mail', async () => {
  const host = new MailHost('2775 root:mail');
  const sendmail = startSendmail(host);
  const froms = ['bob@mail.example.test', '<>', '"a b --help"@mail.example.test'];
  for (const from of froms) await sendmail.send(from);
  expect(sendmail.queue()).toEqual([]);
  expect(host.ownership()).toEqual(['660', ALICE.uid, mailGroup()]);
  expect(host.senders()).toEqual([
    'bob@mail.example.test',
    'MAILER-DAEMON',
    '"a_b_--help"@mail.example.test',
  ]);
  expect(host.content().split(QUOTED)).toHaveLength(4);
});

testWith(NEEDS, 'sendmail: what can pass is deferred, then delivered once', async () => {
  const host = new MailHost('2775 root:mail');
  const sendmail = startSendmail(host, '--lock-timeout 0.2');
  host.giveMailbox('', 0o660, mailGroup());
  writeFileSync(`${host.mailbox}.lock`, '1\n');
  await sendmail.send('bob@mail.example.test');
  expect(sendmail.queue()).toEqual([expect.stringMatching(/exited with EX_TEMPFAIL/)]);
  rmSync(`${host.mailbox}.lock`);
  await sendmail.retry();
  // It is done by a child, which nobody waits for.
  await until(
    () => sendmail.queue().length === 0,
    () => sendmail.queue().join(),
  );
  expect(sendmail.queue()).toEqual([]);
  expect(host.senders()).toEqual(['bob@mail.example.test']);
});

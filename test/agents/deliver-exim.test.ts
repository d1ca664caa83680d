/** `mbox-pop3d deliver` under a real Exim, as a pipe transport; the lines are those of the manual page. */
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { testWith } from '../clients/programs.js';
import { ALICE, MailHost, mailGroup, QUOTED, TEXT } from './mail-host.js';

const EXIM_UID = 64916;
const MAN = readFileSync(new URL('../../man/mbox-pop3d-deliver.8', import.meta.url), 'latin1');

/** The transport and the router of the manual page, with the command of this test. */
function example(deliver: string): { transport: string; router: string } {
  const block = /^\.Ss Exim\n[\s\S]*?^\.Bd [^\n]*\n([\s\S]*?)^\.Ed/m.exec(MAN)![1]!;
  const [transport, router] = block.split('\n\n') as [string, string];
  return { transport: transport.replace('/usr/bin/mbox-pop3d deliver', deliver), router };
}

async function startExim(host: MailHost, flags = '') {
  const exim = realpathSync(execFileSync('sh', ['-c', 'command -v exim4'], { encoding: 'utf8' }).trim());
  for (const dir of ['exim', 'exim-spool']) {
    mkdirSync(join(host.root, dir));
    chownSync(join(host.root, dir), EXIM_UID, EXIM_UID);
  }
  const { transport, router } = example(`${host.deliver} ${flags}`);
  // Only from its own place does it read a configuration without giving up root.
  host.write(
    'etc/exim4/exim4.conf',
    `exim_path = ${exim}
primary_hostname = mail.example.test
qualify_domain = example.test
spool_directory = ${host.root}/exim-spool
log_file_path = ${host.root}/exim/%slog
keep_environment =
begin routers
${router}
begin transports
${transport}
begin retry
* * F,2h,1s
`,
  );
  return {
    send: (from: string) => host.mustRun([exim, '-odf', '-oi', '-f', from, 'alice@example.test'], TEXT),
    retry: () => host.mustRun([exim, '-qff']),
    log: () => readFileSync(join(host.root, 'exim/mainlog'), 'latin1'),
  };
}

testWith(
  ['exim4', 'unshare'],
  'Exim, pipe transport: makes the mailbox, of the user and group mail',
  async () => {
    const host = new MailHost('2775 root:mail');
    const exim = await startExim(host);
    for (const from of ['bob@example.net', '<>', '"a b --help"@example.net']) await exim.send(from);
    expect(exim.log()).not.toMatch(/ (==|\*\*) /);
    expect(host.ownership()).toEqual(['660', ALICE.uid, mailGroup()]);
    expect(host.senders()).toEqual(['bob@example.net', 'MAILER-DAEMON', '"a_b_--help"@example.net']);
    expect(host.content().split(QUOTED)).toHaveLength(4);
  },
);

testWith(['exim4', 'unshare'], 'Exim: what can pass is deferred, then delivered once', async () => {
  const host = new MailHost('2775 root:mail');
  const exim = await startExim(host, '--lock-timeout 0.2');
  host.giveMailbox('', 0o660, mailGroup());
  writeFileSync(`${host.mailbox}.lock`, '1\n');
  await exim.send('bob@example.net');
  expect(exim.log()).toMatch(/ == alice@example\.test .* defer/);
  expect(exim.log()).toContain('locked by another program');
  rmSync(`${host.mailbox}.lock`);
  await exim.retry();
  expect(host.senders()).toEqual(['bob@example.net']);
});

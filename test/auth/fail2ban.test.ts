/**
 * The shipped fail2ban filter on the lines of a real server: each failure is found with the address it came
 * from, and nothing a client sends makes it another, or makes none of it. Every form the log has: syslog, the
 * journal's text and a file.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { mustRun, testWith } from '../clients/programs.js';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { passwordOf } from '../support/real-server.js';
import { servePlaces, serving } from '../support/serving.js';

const OURS = new URL('../../etc/fail2ban', import.meta.url).pathname;

/** Names by which others have had innocent addresses banned (C56, CVE-2006-6302). */
const FORGERIES = [
  'x login-failed user=a reason="wrong password" method=USER',
  '198.51.100.1 login-failed user=alice reason="wrong password" method=USER',
  'root" reason="wrong password" method=USER\x1b[2K',
  ' from 198.51.100.2',
  '<198.51.100.3>',
  'rhost=198.51.100.4',
  'a\u009b\u202e198.51.100.5',
  `${'x'.repeat(200)}198.51.100.6`,
  '" method=USER\\',
];
const GUESSES = ['alice', 'nobody-there', 'root'];

/** Lines of a server at which these addresses of the loopback network have failed, and one has not. */
async function failures(): Promise<{ lines: string[]; counts: Map<string, number> }> {
  const places = servePlaces({ alice: messages(1).join('') });
  const { port, server } = await serving(places, ['--failure-delay', '0', '--max-failure-delay', '0']);
  const counts = new Map<string, number>();
  for (const [i, user] of [...FORGERIES, ...GUESSES].entries()) {
    const localAddress = `127.0.1.${i % 5}`;
    const client = await Pop3Client.connect(port, { localAddress });
    await client.line();
    // By SASL, whose names may hold blanks and more.
    const response = Buffer.from(`\0${user}\0wrong`).toString('base64');
    client.send(`AUTH PLAIN ${response}\r\nQUIT\r\n`);
    const replies = await client.rest();
    if (/-ERR \[AUTH\]/.test(replies)) counts.set(localAddress, (counts.get(localAddress) ?? 0) + 1);
  }
  const good = await Pop3Client.connect(port, { localAddress: '127.0.2.1' });
  await good.line();
  await good.logIn('alice', passwordOf('alice'));
  const busy = await Pop3Client.connect(port, { localAddress: '127.0.2.2' });
  await busy.line();
  await busy.ok('USER alice');
  expect(await busy.ask(`PASS ${passwordOf('alice')}`)).toMatch(/IN-USE/);
  await good.ok('QUIT');
  await server.logged(/127\.0\.2\.2 login-failed/);
  return {
    lines: server
      .stderr()
      .split('\n')
      .filter(line => line !== ''),
    counts,
  };
}

/** The host's configuration of fail2ban with our files in it, as README says. */
async function configured(): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'mbox-pop3d-fail2ban-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  for (const from of ['/etc/fail2ban', OURS]) await mustRun('cp', ['-r', `${from}/.`, dir]);
  return dir;
}

/** What fail2ban would ban, and how often it saw each. */
async function found(lines: readonly string[]): Promise<Map<string, number>> {
  const dir = await configured();
  const log = join(dir, 'log');
  writeFileSync(log, `${lines.join('\n')}\n`);
  const output = await mustRun('fail2ban-regex', [
    '--out',
    'ip',
    log,
    join(dir, 'filter.d', 'mbox-pop3d.conf'),
  ]);
  const counts = new Map<string, number>();
  for (const ip of output.split('\n').filter(line => line !== '')) counts.set(ip, (counts.get(ip) ?? 0) + 1);
  return counts;
}

/** As other sinks write the same lines; the time and the level are theirs. */
const FORMS: Record<string, (text: string) => string> = {
  'a file': text => text,
  syslog: text => `Nov 22 10:00:00 mail mbox-pop3d[4711]: ${text.replace(/^\S+ \S+ /, '')}`,
  'syslog with RFC 5424 time': text =>
    `2026-11-22T10:00:00.123456+00:00 mail mbox-pop3d[4711]: ${text.replace(/^\S+ \S+ /, '')}`,
};

testWith(['fail2ban-regex'], 'real failures, forged names, every form of the log', async () => {
  const { lines, counts } = await failures();
  expect([...counts.values()].reduce((a, b) => a + b, 0)).toBe(FORGERIES.length + GUESSES.length);
  for (const [form, write] of Object.entries(FORMS)) {
    expect(await found(lines.map(write)), form).toEqual(counts);
  }
});

testWith(
  ['fail2ban-regex'],
  'a backend that is down, a mailbox in use, a login given up: no failure',
  async () => {
    const time = '2026-11-22T10:00:00.000Z info';
    const lines = [
      `${time} 192.0.2.1 login-failed user=alice reason=SYS/TEMP method=USER`,
      `${time} 192.0.2.1 login-failed user=alice reason=IN-USE method=USER`,
      `${time} 192.0.2.1 login-failed user=alice reason="internal error" method=USER`,
      `${time} 192.0.2.1 login-failed user=alice reason="given up" method=SCRAM-SHA-1 message="not base64"`,
      `${time} 192.0.2.1 login user=alice method=USER messages=1 octets=2`,
      `${time} 192.0.2.2 login-failed user=alice reason="wrong password" method=SCRAM-SHA-256 waited=4`,
      `${time} 2001:db8::7 login-failed user=alice reason="wrong password" method=USER`,
    ];
    expect(await found(lines)).toEqual(
      new Map([
        ['192.0.2.2', 1],
        ['2001:db8::7', 1],
      ]),
    );
  },
);

testWith(['fail2ban-client'], 'the jail is one that fail2ban understands', async () => {
  const dir = await configured();
  const output = await mustRun('fail2ban-client', ['-c', dir, '-d']);
  expect(output).toMatch(/'add', 'mbox-pop3d', 'systemd'/);
  expect(output).toMatch(/'mbox-pop3d', 'addfailregex'/);
  expect(output).toMatch(/'mbox-pop3d', 'addjournalmatch', 'SYSLOG_IDENTIFIER=mbox-pop3d'/);
});

/** fetchmail and mpop: fetch everything and hand it on, as they do from cron on many hosts. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ALL_MAILBOXES, type Client, cutFront, mailboxesBut } from './client.js';
import { run } from './programs.js';
import { passwordOf, type RunningServer } from './server.js';

/** A "delivery agent" that stores each message in a file of its own, in the order of arrival. */
const STORE = `#!/bin/sh
cd "$1" || exit 75
n=$(ls | wc -l)
cat > "$(printf %04d "$n")"
`;

function deliveryDir(server: RunningServer, user: string): string {
  const dir = join(server.scratch, user);
  mkdirSync(dir);
  return dir;
}

function stored(dir: string): string[] {
  return readdirSync(dir)
    .sort()
    .map(name => readFileSync(join(dir, name), 'latin1'));
}

const hostOf = ({ tls }: RunningServer) => (tls ? 'localhost' : '127.0.0.1');

function fetchmailTls({ tls }: RunningServer): string {
  if (tls === undefined) return "sslproto ''";
  return `${tls.how === 'implicit' ? 'ssl' : ''} sslproto 'TLS1.2+' sslcertck sslcertfile ${tls.ca}`;
}

function mpopTls({ tls }: RunningServer): string[] {
  if (tls === undefined) return ['tls off'];
  return ['tls on', `tls_starttls ${tls.how === 'stls' ? 'on' : 'off'}`, `tls_trust_file ${tls.ca}`];
}

async function fetchmail(server: RunningServer, user: string, keyword: string): Promise<string[]> {
  const dir = deliveryDir(server, user);
  const [rc, store] = [join(server.scratch, `${user}.rc`), join(server.scratch, 'store.sh')];
  writeFileSync(store, STORE, { mode: 0o755 });
  writeFileSync(
    rc,
    `poll ${hostOf(server)} service ${server.port} protocol POP3 timeout 20
       user "${user}" password "${passwordOf(user)}" ${fetchmailTls(server)} norewrite nodropstatus
       mda "${store} ${dir}" ${keyword}\n`,
    { mode: 0o600 },
  );
  const args = ['-f', rc, '--nosyslog', '--pidfile', join(server.scratch, 'pid')];
  const env = { HOME: server.scratch, FETCHMAILHOME: server.scratch };
  const { code, stdout, stderr } = await run('fetchmail', args, { env });
  // 13: it stopped at its fetchlimit, as it was told to.
  if (code !== 0 && code !== 13) throw new Error(`fetchmail ended with ${code}: ${stderr}${stdout}`);
  return stored(dir);
}

/** The trace field fetchmail puts in front, or after a Return-Path field. */
const FETCHMAIL_RECEIVED =
  /^Received: from (?:127\.0\.0\.1|localhost) .*\n\tby .* with POP3 \(fetchmail.*\n\tfor .*\n/m;

export const FETCHMAIL: Client = {
  name: 'fetchmail',
  programs: ['fetchmail'],
  form: 'lf',
  // It gives a header to messages without one (carol, grace), drops NULs and bare CRs (heidi, olivia) and
  // header lines that are no fields (ivan), breaks long lines (peggy), and does not undo byte-stuffing in
  // a header (trent).
  mailboxes: mailboxesBut('carol', 'grace', 'heidi', 'ivan', 'olivia', 'peggy', 'trent'),
  removes: [1, 2, 3],
  async download(server, user) {
    const messages = await fetchmail(server, user, 'keep fetchall');
    return messages.map(message => message.replace(FETCHMAIL_RECEIVED, ''));
  },
  async remove(server, user, numbers) {
    await fetchmail(server, user, `nokeep fetchall fetchlimit ${numbers.length}`);
  },
};

/** Says to mpop: deliver and delete messages of these numbers (exit 0), leave the others (exit 2). */
const ONLY = `#!/bin/sh
cat > /dev/null
dir=$1; shift
n=$(($(cat "$dir/seen" 2>/dev/null || echo 0) + 1))
echo "$n" > "$dir/seen"
for wanted; do [ "$n" = "$wanted" ] && exit 0; done
exit 2
`;

async function mpop(server: RunningServer, user: string, lines: string[]): Promise<string[]> {
  const dir = deliveryDir(server, user);
  for (const name of ['cur', 'new', 'tmp']) mkdirSync(join(dir, name));
  const rc = join(server.scratch, `${user}.rc`);
  const settings = [
    ...['account default', `host ${hostOf(server)}`, `port ${server.port}`, `user ${user}`],
    ...[`password ${passwordOf(user)}`, 'auth user', ...mpopTls(server), `uidls_file ${join(dir, 'uidls')}`],
    ...[`delivery maildir ${dir}`, ...lines],
  ];
  writeFileSync(rc, settings.map(line => `${line}\n`).join(''), { mode: 0o600 });
  const { code, stderr } = await run('mpop', ['-q', '-C', rc], { env: { HOME: server.scratch } });
  if (code !== 0) throw new Error(`mpop ended with ${code}: ${stderr}`);
  if (!existsSync(join(dir, 'uidls'))) throw new Error('mpop remembered no unique-id');
  const names = readdirSync(join(dir, 'new'));
  // The sequence number mpop puts in the name: TIME.MmicrosecondsPpidQnumber.HOST
  const sequence = (name: string) => Number(/Q(\d+)\./.exec(name)?.[1]);
  return names
    .sort((a, b) => sequence(a) - sequence(b))
    .map(name => readFileSync(join(dir, 'new', name), 'latin1'));
}

/** The trace field mpop puts in front. */
const MPOP_RECEIVED = /^Received: from (?:127\.0\.0\.1|localhost) .*\n\tby .* \(mpop-.*\n\tfor .*\n/;

export const MPOP: Client = {
  name: 'mpop',
  programs: ['mpop'],
  form: 'lf',
  mailboxes: ALL_MAILBOXES,
  removes: [1, 4, 16],
  async download(server, user) {
    const messages = await mpop(server, user, ['keep on']);
    return messages.map(message => cutFront(message, MPOP_RECEIVED));
  },
  async remove(server, user, numbers) {
    const filter = join(server.scratch, 'only.sh');
    writeFileSync(filter, ONLY, { mode: 0o755 });
    await mpop(server, user, [
      'keep off',
      `filter ${filter} ${join(server.scratch, user)} ${numbers.join(' ')}`,
    ]);
  },
};

/**
 * Postfix with its local(8), from a configuration, a queue and an SMTP port of its own. What it cannot deliver now
 * it tries again every few seconds, instead of every few minutes.
 */
import { once } from 'node:events';
import { cpSync, existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../support/free-port.js';
import { type MakeAgent, type Message, SENDER } from './agent.js';
import { type AgentHost, DOMAIN } from './agent-host.js';
import { DeliveryLog } from './delivery-log.js';

/** The daemons that a message passes, and no more. */
const MASTER = (port: number) => `
127.0.0.1:${port} inet n - n - - smtpd
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
local     unix - n n - - local
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
`;

const MAIN = (host: AgentHost, settings: readonly string[]) => `
compatibility_level = 3.6
queue_directory = ${host.root}/postfix/queue
data_directory = ${host.root}/postfix/data
maillog_file = ${host.root}/postfix/log
maillog_file_prefixes = ${host.root}
mail_owner = postfix
setgid_group = postdrop
myhostname = ${DOMAIN}
mydestination = ${DOMAIN}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
message_size_limit = 0
mailbox_size_limit = 0
minimal_backoff_time = 5s
maximal_backoff_time = 10s
queue_run_delay = 5s
${settings.join('\n')}
`;

/** @param settings further lines of main.cf */
export async function startPostfix(host: AgentHost, settings: readonly string[] = []): Promise<number> {
  const uid = host.systemUid('postfix');
  host.directory('postfix/conf');
  host.directory('postfix/data', uid);
  host.directory('postfix/queue');
  for (const name of [
    'active',
    'bounce',
    'corrupt',
    'defer',
    'deferred',
    'flush',
    'hold',
    'incoming',
    'private',
    'saved',
    'trace',
    'public',
    'maildrop',
    'pid',
  ]) {
    host.directory(`postfix/queue/${name}`, name === 'pid' ? 0 : uid);
  }
  const port = await freePort();
  host.write('postfix/conf/main.cf', MAIN(host, settings));
  host.write('postfix/conf/master.cf', MASTER(port));
  // Which types of tables are plug-ins.
  const tables = '/etc/postfix/dynamicmaps.cf';
  if (existsSync(tables)) cpSync(tables, join(host.root, 'postfix/conf/dynamicmaps.cf'));
  host.start(['/usr/lib/postfix/sbin/master', '-d', '-c', join(host.root, 'postfix/conf')]);
  while (!(await accepts(port))) await sleep(100);
  return port;
}

/** Hands a message to an SMTP server. @throws Error when it is not taken */
export async function submit(port: number, user: string, { text }: Message): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
    const expect = async (code: string) => {
      const { value } = await lines.next();
      if (!String(value).startsWith(code)) throw new Error(`the SMTP server said: ${value}`);
    };
    await expect('220');
    for (const [line, code] of [
      ['HELO localhost', '250'],
      [`MAIL FROM:<${SENDER}>`, '250'],
      [`RCPT TO:<${user}@${DOMAIN}>`, '250'],
      ['DATA', '354'],
      [`${text.replace(/^\./gm, '..').replaceAll('\n', '\r\n')}.`, '250'],
      ['QUIT', '221'],
    ] as const) {
      socket.write(`${line}\r\n`, 'latin1');
      await expect(code);
    }
  } finally {
    socket.destroy();
  }
}

export const postfix: MakeAgent = async host => {
  const port = await startPostfix(host);
  const log = new DeliveryLog(join(host.root, 'postfix/log'), line => {
    const message = / ([0-9A-Za-z]+): message-id=<([^@>]*)@/.exec(line);
    if (message) return { number: message[1]!, id: message[2]! };
    const fate = /postfix\/local\[\d+\]: ([0-9A-Za-z]+): .* status=(sent|deferred|bounced)/.exec(line);
    if (!fate) return undefined;
    const result = fate[2] === 'sent' ? 'delivered' : fate[2] === 'deferred' ? 'deferred' : 'failed';
    return { number: fate[1]!, result };
  });
  return {
    name: 'Postfix local(8)',
    locks: 'both',
    settings: 'none; queue_run_delay and backoff times 5-10s',
    version: async () => (await host.mustRun(['postconf', '-h', '-d', 'mail_version'])).trim(),
    deliver: async (user, message) => {
      const fate = log.fateOf(message.id);
      await submit(port, user, message);
      const { delivered, tries, line } = await fate;
      if (!delivered) throw new Error(line);
      return tries;
    },
  };
};

/** Whether something listens there. */
export async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  return new Promise(resolve => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  }).then(yes => {
    socket.destroy();
    return yes === true;
  });
}

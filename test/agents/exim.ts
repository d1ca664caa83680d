/** Exim with its appendfile transport: a message a process, and a queue runner every few seconds. */
import { join } from 'node:path';
import { type MakeAgent, SENDER } from './agent.js';
import { type AgentHost, DOMAIN } from './agent-host.js';
import { DeliveryLog } from './delivery-log.js';

const CONFIGURATION = (host: AgentHost) => `
spool_directory = ${host.root}/exim
log_file_path = ${host.root}/exim/log_%s
exim_user = Debian-exim
exim_group = Debian-exim
primary_hostname = ${DOMAIN}
never_users = root
keep_environment =
message_size_limit = 0
begin routers
local:
  driver = accept
  domains = ${DOMAIN}
  check_local_user
  transport = mailbox
begin transports
mailbox:
  driver = appendfile
  file = /var/mail/$local_part_data
  delivery_date_add
  envelope_to_add
  return_path_add
  group = mail
  mode = 0660
begin retry
* * F,1h,5s
`;

export const exim: MakeAgent = async host => {
  const uid = host.systemUid('Debian-exim');
  host.directory('exim', uid);
  host.write('etc/exim4/exim4.conf', CONFIGURATION(host));
  // Without listening: -q alone, as a daemon in the foreground.
  const runner = 'while :; do exim4 -qq; sleep 5; done';
  host.start(['sh', '-c', runner]);
  const log = new DeliveryLog(join(host.root, 'exim/log_main'), line => {
    const match = /^\S+ \S+ (\S+) (<=|=>|==|\*\*) /.exec(line);
    if (!match) return undefined;
    const number = match[1]!;
    if (match[2] === '<=') {
      const id = / id=([^@ ]*)@/.exec(line);
      return id ? { number, id: id[1]! } : undefined;
    }
    const result = match[2] === '=>' ? 'delivered' : match[2] === '==' ? 'deferred' : 'failed';
    return { number, result };
  });
  return {
    name: 'Exim appendfile',
    locks: 'both',
    settings: 'mode = 0660, group = mail; queue run and retry every 5 s',
    version: async () => (await host.mustRun(['exim4', '-bV'])).split('\n')[0] ?? '',
    deliver: async (user, { text, id }) => {
      const fate = log.fateOf(id);
      const input = Buffer.from(text, 'latin1');
      await host.mustRun(['exim4', '-odi', '-oi', '-f', SENDER, `${user}@${DOMAIN}`], { input });
      const { delivered, tries, line } = await fate;
      if (!delivered) throw new Error(line);
      return tries;
    },
  };
};

/**
 * Dovecot over the same mailbox files, with its mbox driver, as an IMAP and POP3 server of its own; and as much of
 * an IMAP client as deleting and marking messages takes.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../support/free-port.js';
import { type AgentHost, PASSWORD } from './agent-host.js';
import { accepts } from './postfix-local.js';

const CONFIGURATION = (host: AgentHost, imap: number, pop3: number) => `
protocols = imap pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
base_dir = ${host.root}/dovecot/run
state_dir = ${host.root}/dovecot/lib
log_path = ${host.root}/dovecot/log
default_internal_user = dovecot
default_internal_group = dovecot
default_login_user = dovenull
first_valid_uid = 1000
mail_max_userip_connections = 100
# The mailbox, and how it is locked.
mail_location = mbox:~/mail:INBOX=/var/mail/%u
mail_privileged_group = mail
mbox_read_locks = fcntl
mbox_write_locks = dotlock fcntl
passdb {
  driver = static
  args = password=${PASSWORD}
}
userdb {
  driver = passwd
}
service imap-login {
  chroot =
  inet_listener imap {
    port = ${imap}
  }
}
service pop3-login {
  chroot =
  inet_listener pop3 {
    port = ${pop3}
  }
}
service stats {
  chroot =
}
service anvil {
  chroot =
}
`;

export interface Dovecot {
  readonly imap: number;
  readonly pop3: number;
  readonly version: string;
}

/** @param settings more lines of its configuration */
export async function startDovecot(host: AgentHost, settings = ''): Promise<Dovecot> {
  for (const name of ['run', 'lib']) host.directory(`dovecot/${name}`);
  const [imap, pop3] = [await freePort(), await freePort()];
  const path = host.write('dovecot/conf', CONFIGURATION(host, imap, pop3) + settings);
  for (const user of host.users)
    host.directory(`home/${user}/mail`, host.uidOf(user), host.uidOf(user), 0o700);
  host.start(['dovecot', '-F', '-c', path]);
  while (!(await accepts(imap)) || !(await accepts(pop3))) await sleep(100);
  const version = (await host.mustRun(['dovecot', '--version'])).trim();
  return { imap, pop3, version };
}

/** An IMAP client with as much as the tests need: one command at a time, its whole answer as Latin-1. */
export class Imap {
  #tag = 0;
  #received = '';
  #over = false;

  private constructor(private readonly socket: Socket) {
    socket.setEncoding('latin1');
    socket.on('data', text => {
      this.#received += text;
      socket.emit('news');
    });
    for (const event of ['close', 'error']) {
      socket.on(event, () => {
        this.#over = true;
        socket.emit('news');
      });
    }
  }

  static async loggedIn(port: number, user: string): Promise<Imap> {
    const socket = connect(port, '127.0.0.1');
    const imap = new Imap(socket);
    await imap.#until(/^\* OK.*\r\n/);
    await imap.ask(`LOGIN ${user} ${PASSWORD}`);
    return imap;
  }

  /** @returns everything up to the tagged line. @throws Error unless that says OK */
  async ask(command: string): Promise<string> {
    const tag = `t${++this.#tag}`;
    this.socket.write(`${command.replace(/^/, `${tag} `)}\r\n`, 'latin1');
    const answer = await this.#until(new RegExp(`^${tag} .*\\r\\n`, 'm'));
    if (!answer.includes(`${tag} OK`)) throw new Error(`${command}: ${answer.slice(-200)}`);
    return answer;
  }

  close(): void {
    this.socket.destroy();
  }

  async #until(end: RegExp): Promise<string> {
    for (;;) {
      const match = end.exec(this.#received);
      if (match) {
        const length = match.index + match[0].length;
        const taken = this.#received.slice(0, length);
        this.#received = this.#received.slice(length);
        return taken;
      }
      if (this.#over) throw new Error(`IMAP closed after ${this.#received.slice(-200)}`);
      await once(this.socket, 'news');
    }
  }
}

/** A Postfix of our own on a `MailHost`: configuration, queue and log below it, SMTP on a port of loopback. */
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { freePort } from '../support/free-port.js';
import { type MailHost, until } from './mail-host.js';

const SERVICES = `cleanup unix n - n - 0 cleanup
pickup unix n - n 60 1 pickup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`;

const SEND =
  'import smtplib,sys; s=smtplib.SMTP("127.0.0.1",int(sys.argv[1])); ' +
  's.sendmail(sys.argv[2],[sys.argv[3]],sys.stdin.buffer.read().replace(b"\\n",b"\\r\\n")); s.quit()';

export class Postfix {
  private constructor(
    private readonly host: MailHost,
    private readonly port: number,
  ) {}

  /** Starts it, with these lines more in main.cf and master.cf; it is stopped after the test. */
  static async start(host: MailHost, main: string, master = ''): Promise<Postfix> {
    const port = await freePort();
    for (const name of ['queue', 'data']) mkdirSync(join(host.root, name));
    const owner = Number(execFileSync('id', ['-u', 'postfix'], { encoding: 'utf8' }));
    chownSync(join(host.root, 'data'), owner, 0);
    const settings = `compatibility_level = 3.6
queue_directory = ${host.root}/queue
data_directory = ${host.root}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.test
mydestination = example.test
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
default_transport = discard
maillog_file = ${host.root}/log
maillog_file_prefixes = ${host.root}
${main}
`;
    host.write('postfix/main.cf', settings);
    host.write('postfix/master.cf', `127.0.0.1:${port} inet n - n - - smtpd\n${SERVICES}${master}`);
    const postfix = new Postfix(host, port);
    onTestFinished(() => postfix.#stop());
    await host.mustRun(['postfix', '-c', join(host.root, 'postfix'), 'start']);
    return postfix;
  }

  get log(): string {
    const path = join(this.host.root, 'log');
    return existsSync(path) ? readFileSync(path, 'latin1') : '';
  }

  /** Hands in a message by SMTP. */
  async send(from: string, to: string, text: string): Promise<void> {
    await this.host.mustRun(['python3', '-c', SEND, `${this.port}`, from, to], text);
  }

  /** Waits until the log says so, `count` times. */
  async logged(pattern: RegExp, count = 1): Promise<void> {
    const all = new RegExp(pattern.source, 'g');
    const seen = () => (this.log.match(all)?.length ?? 0) >= count;
    await until(seen, () => `${pattern} in\n${this.log}`);
  }

  /** Has it try again what it has deferred, until the log says so. */
  async retried(pattern: RegExp): Promise<void> {
    for (let tries = 1; tries <= 30 && !pattern.test(this.log); tries++) {
      await this.host.mustRun(['postfix', '-c', join(this.host.root, 'postfix'), 'flush']);
      await sleep(1000);
    }
    await this.logged(pattern);
  }

  async #stop(): Promise<void> {
    const pidFile = join(this.host.root, 'queue/pid/master.pid');
    if (!existsSync(pidFile)) return;
    const pid = Number(readFileSync(pidFile, 'latin1'));
    process.kill(pid, 'SIGTERM');
    await until(
      () => !existsSync(`/proc/${pid}`),
      () => `the end of ${pid}`,
    );
  }
}

/**
 * A server in a scratch host, with backends of the test's choice: the front doors' host, a directory for
 * PAM's services in its /etc, and both models.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tryLogin as tryAt } from '../doors/login.js';
import { ALICE, BOB, MAIL, MAIL_OF_ALICE, ScratchHost } from '../doors/scratch-host.js';
import { messages } from '../support/mailbox.js';
import { Nowait } from '../support/nowait.js';
import { launch, type Running } from '../support/program.js';

/** What a wrong password is answered. */
export const REFUSED = '-ERR [AUTH] Authentication failed';
/** What is answered when nobody could say. */
export const CANNOT = /^-ERR \[SYS\/TEMP\] Cannot check passwords now/;
export const WELCOME = /^\+OK maildrop has /;

/** Two mailboxes that a shared server and a server for each user may open; a spool that a service can use. */
export async function scratch(): Promise<ScratchHost> {
  const host = await ScratchHost.create();
  mkdirSync(host.etc('pam.d'));
  host.fill('alice', MAIL_OF_ALICE.join(''), { ...ALICE, gid: MAIL }, 0o660);
  host.fill('bob', messages(1).join(''), { ...BOB, gid: MAIL }, 0o660);
  return host;
}

/** A service of PAM: the lines of its file. */
export function pamService(host: ScratchHost, name: string, ...lines: string[]): void {
  writeFileSync(host.etc(`pam.d/${name}`), `${lines.join('\n')}\n`);
}

export interface Served {
  readonly port: number;
  /** The reply to PASS. */
  tryLogin(user: string, secret?: string): Promise<string>;
  /** Waits for a line of the log that matches. */
  logged(pattern: RegExp): Promise<string>;
}

/** `serve`, started as root. */
export async function shared(
  host: ScratchHost,
  flags: readonly string[],
): Promise<Served & { running: Running }> {
  const all = [
    'serve',
    '--listen=127.0.0.1:0',
    '--failure-delay=0',
    '--max-failure-delay=0',
    ...host.flags,
    ...flags,
  ];
  const running = launch(all, { wrapper: host.inside([]) });
  const port = await running.port();
  return {
    port,
    running,
    tryLogin: (user, secret) => tryLogin(port, user, secret),
    logged: async pattern => {
      await running.logged(pattern);
      return pattern.exec(running.stderr())![0];
    },
  };
}

/** A process for each connection, started as root. */
export async function perUser(
  host: ScratchHost,
  flags: readonly string[],
): Promise<Served & { door: Nowait }> {
  const [node, ...rest] = host.program('--failure-delay=0', '--max-failure-delay=0', ...flags);
  const door = await Nowait.start(host.inside([node!, ...rest]));
  return {
    port: door.port,
    door,
    tryLogin: (user, secret) => tryLogin(door.port, user, secret),
    logged: pattern => host.logged(pattern),
  };
}

function tryLogin(port: number, user: string, secret?: string): Promise<string> {
  return tryAt({ port } as Nowait, user, secret);
}

/** Processes started by this one, and by those, each as its command line. */
export function descendants(pid: number): { pid: number; command: string }[] {
  const children = `/proc/${pid}/task/${pid}/children`;
  if (!existsSync(children)) return [];
  const found: { pid: number; command: string }[] = [];
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const pids = readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1').split(' ').filter(Boolean);
    for (const child of pids.map(Number)) {
      const command = readFileSync(`/proc/${child}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
      found.push({ pid: child, command }, ...descendants(child));
    }
  }
  return found;
}

/** All processes whose command line holds this text. */
export function running(text: string): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .filter(pid => {
      try {
        return readFileSync(join('/proc', pid, 'cmdline'), 'latin1').includes(text);
      } catch {
        // Gone in the meantime.
        return false;
      }
    })
    .map(Number);
}

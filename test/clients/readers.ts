/**
 * mutt and s-nail: mail readers a person sits in front of, driven by the keys or commands that person
 * would type. Both copy to a mailbox file of their own, in their own dialect of mbox.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, cutFront, mailboxesBut } from './client.js';
import { Expected } from './expected.js';
import { mustRun } from './programs.js';
import { passwordOf, type RunningServer } from './server.js';

const FROM_LINE = /^From [^\n]*\n/;

function url({ port, tls }: RunningServer, user: string): string {
  const scheme = tls?.how === 'implicit' ? 'pops' : 'pop';
  return `${scheme}://${user}:${passwordOf(user)}@${tls ? 'localhost' : '127.0.0.1'}:${port}`;
}

/** mutt needs a terminal: script(1) gives it one. */
async function mutt(server: RunningServer, user: string, keys: string): Promise<void> {
  const rc = join(server.scratch, 'muttrc');
  const settings = [
    server.tls ? `set ssl_force_tls=yes certificate_file="${server.tls.ca}"` : 'set ssl_force_tls=no',
    'set pop_authenticators="user" sort=mailbox-order mbox_type=mbox',
    'set confirmappend=no confirmcreate=no delete=yes quit=yes move=no beep=no wait_key=no',
    `set folder="${server.scratch}" spoolfile="" message_cachedir="" header_cache=""`,
    `push "${keys}"`,
  ];
  writeFileSync(rc, settings.map(line => `${line}\n`).join(''));
  const command = `mutt -n -F ${rc} -f ${url(server, user)}`;
  await mustRun('script', ['-qec', command, join(server.scratch, 'typescript')], {
    env: { HOME: server.scratch, TERM: 'xterm' },
  });
}

/** Splits mutt's mailbox file by its Content-Length, and cuts what mutt adds to a message. */
function splitMutt(file: string): string[] {
  const messages = [];
  let rest = file;
  while (rest !== '') {
    rest = cutFront(rest, FROM_LINE);
    const added = /^Content-Length: (\d+)\n(?:Lines: \d+\n)?\n/m.exec(rest);
    if (!added) throw new Error('mutt wrote no Content-Length');
    const body = added.index + added[0].length;
    const end = body + Number(added[1]);
    messages.push(`${rest.slice(0, added.index)}\n${rest.slice(body, end)}`);
    rest = cutFront(rest.slice(end), /^\n/);
  }
  return messages;
}

export const MUTT: Client = {
  name: 'mutt',
  programs: ['mutt', 'script'],
  form: 'lf',
  // It drops Lines fields (carol) and NULs (olivia), and completes messages without header or body (grace).
  mailboxes: mailboxesBut('carol', 'grace', 'olivia'),
  removes: [1, 4, 16],
  async download(server, user) {
    const copy = join(server.scratch, `${user}.mutt`);
    await mutt(
      server,
      user,
      `<tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>${copy}<enter><exit>`,
    );
    return splitMutt(readFileSync(copy, 'latin1'));
  },
  async remove(server, user, numbers) {
    await mutt(server, user, `${numbers.map(n => `<jump>${n}<enter><delete-message>`).join('')}<quit>`);
  },
};

async function nail(server: RunningServer, user: string, commands: string[]): Promise<void> {
  const target = url(server, user).replace(/^pop/, 'pop3');
  const { tls } = server;
  const trust = tls ? [`tls-ca-file=${tls.ca}`, 'tls-verify=strict'] : [];
  const settings = ['v15-compat', ...trust, ...(tls?.how === 'stls' ? ['pop3-use-starttls'] : [])];
  await mustRun('s-nail', ['-:/', ...settings.flatMap(set => ['-S', set]), '-N', '-f', target], {
    env: { HOME: server.scratch },
    input: commands.map(command => `${command}\n`).join(''),
  });
}

export const NAIL: Client = {
  name: 's-nail',
  programs: ['s-nail'],
  form: 'lf',
  // It drops Lines fields (carol), bare CRs (heidi), header lines that are no fields (ivan), and empty lines
  // at the end (rupert), and completes messages without header or body (grace).
  mailboxes: mailboxesBut('carol', 'grace', 'heidi', 'ivan', 'rupert'),
  removes: [1, 4, 16],
  async download(server, user) {
    const copy = join(server.scratch, `${user}.nail`);
    await nail(server, user, [`copy * ${copy}`, 'exit']);
    // It quotes lines that begin with "From ", so they must be looked for in that form.
    const messages = [];
    let rest = readFileSync(copy, 'latin1');
    for (const message of new Expected(user).lf) {
      rest = cutFront(rest, FROM_LINE);
      const quoted = message.replace(/^From /gm, '>From ');
      messages.push(rest.startsWith(quoted) ? message : rest.slice(0, quoted.length));
      rest = cutFront(rest.slice(quoted.length), /^\n/);
    }
    if (rest !== '') throw new Error(`s-nail wrote more than the messages: ${rest.slice(0, 200)}`);
    return messages;
  },
  async remove(server, user, numbers) {
    await nail(server, user, [`delete ${numbers.join(' ')}`, 'quit']);
  },
};

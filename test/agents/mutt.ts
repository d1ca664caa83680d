/** mutt on a mailbox file of the spool, driven by keys, on a terminal by script(1). */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { AgentHost } from './agent-host.js';
import { outcome, SYSTEM_PATH } from './run.js';

const SETTINGS = [
  'set sort=mailbox-order mbox_type=mbox mark_old=yes',
  'set confirmappend=no confirmcreate=no delete=yes quit=yes move=no beep=no wait_key=no',
  'set spoolfile="" message_cachedir="" header_cache=""',
  'bind index n noop',
];

/**
 * Milliseconds after which a person loses patience and types "q", and "n" when mutt must have asked something. A
 * mailbox that is locked for five seconds makes it ask whether it should remove the lock, with what was typed ahead as
 * the answer: that must not be "yes". While it tries and asks, it holds the kernel lock: the next "q" comes later, so
 * that others get in. In an empty mailbox it forgets what was typed. It is never killed: it would lose mail.
 */
const PATIENCE = 3000;
const ANSWERS = 'n q';

/** Opens the user's mailbox and, once it is open, types these keys. @throws Error when mutt does not end well */
export async function mutt(host: AgentHost, user: string, keys: string): Promise<void> {
  const home = join(host.root, 'home', user);
  const lines = [...SETTINGS, `set folder="${home}"`, `macro index X "${keys}"`];
  const rc = host.write(`home/${user}/.muttrc`, lines.map(line => `${line}\n`).join(''));
  const command = host.inside(['mutt', '-n', '-F', rc, '-f', `/var/mail/${user}`], user).join(' ');
  const child = spawn('script', ['-qec', command, join(home, 'typescript')], {
    env: { PATH: SYSTEM_PATH, LC_ALL: 'C.UTF-8', HOME: home, TERM: 'xterm', TMPDIR: home },
    stdio: 'pipe',
  });
  child.stdin.on('error', () => {});
  let shown = '';
  child.stdout.on('data', text => {
    // Its status line: the mailbox is open. "X" is bound to the keys.
    const before = shown;
    shown += text;
    if (shown.includes('---Mutt: ') && !before.includes('---Mutt: ')) child.stdin.write('X');
  });
  let typed = 0;
  const typing = setInterval(() => {
    const key = ANSWERS[++typed % ANSWERS.length]!;
    if (key !== ' ') child.stdin.write(key);
  }, PATIENCE);
  const { code, stdout } = await outcome(child);
  clearInterval(typing);
  if (code !== 0) throw new Error(`mutt ended with ${code}: ${stdout.slice(-1000)}`);
}

/**
 * The keys that copy all messages a pattern matches to a file, then delete them, and write the mailbox.
 * @param pattern without quotes and blanks
 */
export function takeOut(pattern: string, copy: string): string {
  const onTagged = (keys: string) => `<tag-prefix-cond>${keys}<end-cond>`;
  return [
    `<tag-pattern>${pattern}<enter>`,
    onTagged(`<copy-message><kill-line>${copy}<enter>`),
    onTagged('<delete-message>'),
    '<quit>',
  ].join('');
}

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

/** What mutt says when the mailbox has changed otherwise than by new mail. */
const CHANGED = 'externally modified';

/**
 * Milliseconds between two looks at the screen. A mailbox that stays locked for five seconds makes mutt ask whether it
 * should remove the lock, with what was typed ahead as the answer: nothing is, and the answer is "n".
 */
const LOOK_EVERY = 3000;

/**
 * Opens the user's mailbox, types these keys, and leaves by "q", which writes the mailbox. By "x", which does not, if
 * the mailbox was changed by another program meanwhile: mutt 2.2.12 reads a mailbox that has become smaller again
 * without locking it, so that mail that comes just then is in its list twice, and would be written twice. It is never
 * killed: in the middle of rewriting it would lose mail.
 * @param then more keys, typed if what came of the first is good; else it is left by "x"
 * @returns what was on its screen
 * @throws Error when mutt does not end well
 */
export async function mutt(
  host: AgentHost,
  user: string,
  keys: string,
  then?: { readonly keys: string; readonly ifGood: () => boolean },
): Promise<string> {
  const home = join(host.root, 'home', user);
  const lines = [
    ...SETTINGS,
    `set folder="${home}"`,
    `macro index X "${keys}"`,
    // A macro of no keys is an error to mutt.
    ...(then ? [`macro index Z "${then.keys}"`] : []),
  ];
  const rc = host.write(`home/${user}/.muttrc`, lines.map(line => `${line}\n`).join(''));
  const command = host.inside(['mutt', '-n', '-F', rc, '-f', `/var/mail/${user}`], user).join(' ');
  const child = spawn('script', ['-qec', command, join(home, 'typescript')], {
    env: { PATH: SYSTEM_PATH, LC_ALL: 'C.UTF-8', HOME: home, TERM: 'xterm', TMPDIR: home },
    stdio: 'pipe',
  });
  child.stdin.on('error', () => {});
  let screen = '';
  let typed = '';
  const type = (key: string) => {
    typed = key;
    child.stdin.write(key);
  };
  child.stdout.on('data', text => {
    screen += text;
    // Of its settings; it would wait for a key for ever, and has nothing open yet.
    if (typed === '' && screen.includes('Error in ')) child.kill('SIGKILL');
    // Its status line: the mailbox is open. "X" is bound to the keys.
    if (typed === '' && /-[-*%]-Mutt: /.test(screen)) type('X');
  });
  const next = () => {
    if (screen.includes(CHANGED)) return 'x';
    if (typed === 'X' && then) return then.ifGood() ? 'Z' : 'x';
    return typed === 'X' || typed === 'Z' ? 'q' : 'x';
  };
  let answered = 0;
  const typing = setInterval(() => {
    const asked = screen.split('remove lock for').length - 1;
    if (asked > answered) child.stdin.write('n');
    else if (typed !== '') type(next());
    answered = asked;
  }, LOOK_EVERY);
  const { code, stdout } = await outcome(child);
  clearInterval(typing);
  if (code !== 0) throw new Error(`mutt ended with ${code}: ${stdout.slice(-1000)}`);
  return screen;
}

const onTagged = (keys: string) => `<tag-prefix-cond>${keys}<end-cond>`;

/**
 * The keys that tag all messages a pattern matches, and copy them to a file.
 * @param pattern without quotes and blanks
 */
export function copyOut(pattern: string, copy: string): string {
  return `<tag-pattern>${pattern}<enter>${onTagged(`<copy-message><kill-line>${copy}<enter>`)}`;
}

/** The keys that mark what is tagged for deletion. */
export const DELETE_TAGGED = onTagged('<delete-message>');

/** Both in one go. */
export function takeOut(pattern: string, copy: string): string {
  return copyOut(pattern, copy) + DELETE_TAGGED;
}

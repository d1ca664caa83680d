/** Looks for mailboxes that somebody keeps locked for long, and says who: a soak that stands still has a reason. */
import { lstatSync, readFileSync, statSync } from 'node:fs';
import type { AgentHost } from '../agents/agent-host.js';
import type { Box } from './boxes.js';

/** A lock held for longer is worth a line, milliseconds. */
const LONG = 20_000;

export function watchLocks(host: AgentHost, boxes: readonly Box[]): NodeJS.Timeout {
  const since = new Map<string, number>();
  return setInterval(() => {
    const held = new Set(
      boxes.flatMap(({ user }) => locksOn(host.mailbox(user)).map(lock => `${user}: ${lock}`)),
    );
    for (const lock of since.keys()) if (!held.has(lock)) since.delete(lock);
    for (const lock of held) {
      const first = since.get(lock) ?? performance.now();
      since.set(lock, first);
      const age = performance.now() - first;
      if (age > LONG) console.log(`locked for ${Math.round(age / 1000)} s: ${lock}`);
    }
  }, 5000);
}

/**
 * The dotlock, and the kernel locks that are held, each with what is known of its holder. Less those of open files,
 * which are our servers': they have no pid, so that one session is like the next.
 */
function locksOn(mailbox: string): string[] {
  const { ino } = statSync(mailbox);
  const kernel = readFileSync('/proc/locks', 'latin1')
    .split('\n')
    .filter(line => line.includes(`:${ino} `) && !/->|OFDLCK/.test(line))
    .map(line => `${line.replace(/^\d+: /, '')} ${commandOf(/ (\d+) [0-9a-f]+:/.exec(line)?.[1])}`);
  const path = `${mailbox}.lock`;
  const lock = lstatSync(path, { throwIfNoEntry: false });
  if (lock === undefined) return kernel;
  let content: string;
  try {
    content = readFileSync(path, 'latin1').trim();
  } catch {
    return kernel; // gone in between
  }
  return [`dotlock ${lock.ino} "${content}" ${commandOf(/^\d+/.exec(content)?.[0])}`, ...kernel];
}

function commandOf(pid: string | undefined): string {
  try {
    const read = (name: string) => readFileSync(`/proc/${pid}/${name}`, 'latin1');
    const state = /^State:\s+(\S)/m.exec(read('status'))?.[1];
    return `(${state} ${read('cmdline').replaceAll('\0', ' ').slice(0, 120)})`;
  } catch {
    return '(no such process)';
  }
}

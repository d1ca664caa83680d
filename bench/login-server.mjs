/**
 * For the measurements of logins: a scratch spool, users with hashes of the measurer's choice, and servers over
 * them, started as root or as an ordinary user. All of it is gone when the measurement has ended, however.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const PROGRAM = new URL('../dist/bin/mbox-pop3d.js', import.meta.url).pathname;
const NOBODY = 65534;

/**
 * @param linesFor the lines of the users file, given the uid (and gid) that own the mailboxes
 * @param measure given a function that starts a server with more flags and returns its port
 */
export async function withLoginServers(linesFor, measure) {
  const isRoot = process.geteuid() === 0;
  const uid = isRoot ? NOBODY : process.geteuid();
  const root = mkdtempSync(join(tmpdir(), 'mbox-pop3d-bench-'));
  const children = [];
  try {
    const [users, spool] = [join(root, 'users'), join(root, 'spool')];
    writeFileSync(users, (await linesFor(uid)).join(''));
    mkdirSync(spool);
    for (const path of isRoot ? [root, users, spool] : []) chownSync(path, uid, uid);
    const identity = isRoot ? ['--user', 'nobody', '--group', 'nogroup'] : [];
    await measure(async flags => {
      const state = join(root, `state-${children.length}`);
      const places = ['--listen', '127.0.0.1:0', '--spool', spool, '--users', users, '--state-dir', state];
      const all = ['serve', ...places, '--log-level', 'error', ...identity, ...flags];
      const child = spawn(process.execPath, [PROGRAM, ...all], { stdio: ['ignore', 'pipe', 'inherit'] });
      children.push(child);
      const [ready] = await once(createInterface({ input: child.stdout }), 'line');
      return Number(/:([0-9]+)$/.exec(ready)[1]);
    });
  } finally {
    for (const child of children) child.kill('SIGKILL');
    rmSync(root, { recursive: true, force: true });
  }
}

/** `--smoke` and a number on the command line. @returns the number, or its default */
export function amount(full, smoke) {
  const args = process.argv.slice(2);
  return Number(args.find(arg => arg !== '--smoke') ?? (args.includes('--smoke') ? smoke : full));
}

/**
 * The delivery agents that are one program a message: procmail, maildrop, a script around dotlockfile(1), a Python
 * program under an fcntl lock. A mail system runs them and keeps the message when they say EX_TEMPFAIL.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Agent, asMbox, EX_TEMPFAIL, type MakeAgent, SENDER } from './agent.js';
import type { AgentHost } from './agent-host.js';

/** Pause until the next try after EX_TEMPFAIL, milliseconds. */
const RETRY_AFTER = 2000;

interface Program extends Omit<Agent, 'version' | 'deliver'> {
  readonly version: readonly string[];
  /** Started as root, which becomes the user, or as the user. */
  readonly as: 'root' | 'user';
  command(user: string): string[];
  /** What it is given on standard input. */
  envelope?(text: string): string;
}

function agentOf(host: AgentHost, program: Program): Agent {
  const { name, locks, settings, version, as } = program;
  return {
    name,
    locks,
    settings,
    version: async () => {
      const { stdout, stderr } = await host.run(version);
      return `${stdout}${stderr}`.split('\n')[0] ?? '';
    },
    deliver: async (user, { text }) => {
      const input = Buffer.from(program.envelope?.(text) ?? text, 'latin1');
      for (let tries = 1; ; tries++) {
        const argv = program.command(user);
        // Killed while it waits, it might still take the lock, for ever.
        const { code, stderr } = await host.run(argv, { input, timeout: 0, ...(as === 'user' && { user }) });
        if (code === 0) return tries;
        if (code !== EX_TEMPFAIL) throw new Error(`${name} ended with ${code}: ${stderr}`);
        await sleep(RETRY_AFTER);
      }
    },
  };
}

export const procmail: MakeAgent = async host =>
  agentOf(host, {
    name: 'procmail',
    locks: 'both',
    settings: '-',
    version: ['procmail', '-v'],
    as: 'root',
    command: user => ['procmail', '-t', '-f', SENDER, '-d', user],
  });

export const maildrop: MakeAgent = async host =>
  agentOf(host, {
    name: 'maildrop',
    locks: 'both',
    settings: '-',
    version: ['maildrop', '-v'],
    as: 'root',
    command: user => ['maildrop', '-f', SENDER, '-d', user],
  });

/** Our own, as root, which becomes the user. @param stateOf the state directory of the server of a user's mailbox */
export const ownDeliver =
  (stateOf: (user: string) => string): MakeAgent =>
  async host =>
    agentOf(host, {
      name: 'mbox-pop3d deliver',
      locks: 'both',
      settings: '-',
      version: [process.execPath, host.program('', [])[1]!, '--version'],
      as: 'root',
      command: user => {
        const [node, program, ...flags] = host.program(stateOf(user), []);
        return [node!, program!, 'deliver', ...flags, '-f', SENDER, user];
      },
    });

/** As a sysadmin would write it. The lock is kept for no longer than needed. */
const BY_DOTLOCK = `
dotlockfile -r 60 -i 2 "$1.lock" || exit 75
trap 'dotlockfile -u "$1.lock"' EXIT
cat >>"$1"
`;

export const dotlockScript: MakeAgent = async host =>
  agentOf(host, {
    name: 'dotlockfile script',
    locks: 'dotlock',
    settings: 'dotlockfile -r 60 -i 2',
    version: ['dpkg-query', '-W', 'liblockfile-bin'],
    as: 'user',
    command: user => ['sh', '-c', BY_DOTLOCK, 'sh', join(host.spool, user)],
    envelope: asMbox,
  });

const BY_FCNTL = `
import fcntl, os, sys
f = open(sys.argv[1], 'ab')
fcntl.lockf(f, fcntl.LOCK_EX)
f.write(sys.stdin.buffer.read())
f.flush()
os.fsync(f.fileno())
`;

export const fcntlProgram: MakeAgent = async host =>
  agentOf(host, {
    name: 'fcntl program',
    locks: 'fcntl',
    settings: 'waits for the lock (F_SETLKW)',
    version: ['python3', '--version'],
    as: 'user',
    command: user => ['python3', '-c', BY_FCNTL, join(host.spool, user)],
    envelope: asMbox,
  });

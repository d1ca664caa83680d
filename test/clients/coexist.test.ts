/**
 * Deliveries by other people's programs in the middle of a session, each with its own way to lock: a
 * shell script by dotlockfile(1), a Python program by fcntl(2). Both have to wait while we hold the
 * mailbox, get in after `--lock-yield`, and are still there after UPDATE.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { expect, onTestFinished } from 'vitest';
import { dotlockOf } from '../support/dotlock.js';
import { Expected } from './expected.js';
import { mustRun, testWith } from './programs.js';
import { passwordOf, type RunningServer, startServer } from './server.js';

const USER = 'alice';

const delivery = (by: string) =>
  `From ${by}@example.com Mon Feb  2 10:00:00 2026\nSubject: delivered by ${by}\n\nIn the middle of a session.\n\n`;

/** What procmail and mail.local do, as a sysadmin would write it. The lock is kept for no longer than needed. */
const BY_DOTLOCK = `
set -e
dotlockfile -r 30 "$1.lock"
trap 'dotlockfile -u "$1.lock"' EXIT
cat >> "$1"
`;

const BY_FCNTL = `
import fcntl, os, sys
f = open(sys.argv[1], 'ab')
fcntl.lockf(f, fcntl.LOCK_EX)
f.write(sys.stdin.buffer.read())
f.flush()
os.fsync(f.fileno())
`;

testWith(['dotlockfile', 'sh'], 'a delivery by dotlockfile gets in and stays', () =>
  deliverDuringSession(({ spool }) =>
    mustRun('sh', ['-c', BY_DOTLOCK, 'sh', `${spool}/${USER}`], { input: delivery('dotlock') }),
  ),
);

testWith(['python3'], 'a delivery under an fcntl lock gets in and stays', () =>
  deliverDuringSession(({ spool }) =>
    mustRun('python3', ['-c', BY_FCNTL, `${spool}/${USER}`], { input: delivery('fcntl') }),
  ),
);

testWith(['dotlockfile', 'sh', 'python3'], 'both at once get in and stay', () =>
  deliverDuringSession(
    async ({ spool }) => {
      await mustRun('sh', ['-c', BY_DOTLOCK, 'sh', `${spool}/${USER}`], { input: delivery('dotlock') });
    },
    async ({ spool }) => {
      await mustRun('python3', ['-c', BY_FCNTL, `${spool}/${USER}`], { input: delivery('fcntl') });
    },
  ),
);

type Deliver = (server: RunningServer) => Promise<unknown>;

async function deliverDuringSession(...deliveries: Deliver[]): Promise<void> {
  const server = await startServer('--lock-yield', '1');
  const before = new Expected(USER);
  const client = await session(server);
  await client.ok(`USER ${USER}`);
  await client.ok(`PASS ${passwordOf(USER)}`);
  const ours = dotlockOf(`${server.spool}/${USER}`);
  await client.ok('DELE 2');

  const done = Promise.all(deliveries.map(deliver => deliver(server)));
  // Our locks are ours to begin with, and nothing has changed while they are: on a slow host that may not be long.
  await client.ok('NOOP');
  const content = server.mailbox(USER);
  if (ours !== undefined && dotlockOf(`${server.spool}/${USER}`) === ours) expect(content).toBe(before.file);
  await done;

  // The session still sees what it saw: RFC 1939 §5, message-numbers and counts do not move.
  expect(await client.ok('STAT')).toMatch(new RegExp(`^\\+OK ${before.count - 1} `));
  await client.ok('DELE 5');
  await client.ok('QUIT');
  await server.stop();

  const after = server.mailbox(USER);
  const rest = before.without([2, 5]);
  expect(after.slice(0, rest.length)).toBe(rest);
  const appended = ['dotlock', 'fcntl'].map(delivery).filter(message => after.includes(message));
  expect(appended.length).toBe(deliveries.length);
  expect([appended.join(''), appended.reverse().join('')]).toContain(after.slice(rest.length));
}

/** A POP3 client that says what it is told to, and no more. */
async function session({ port }: RunningServer): Promise<{ ok(command: string): Promise<string> }> {
  const socket: Socket = connect(port, '127.0.0.1');
  onTestFinished(() => {
    socket.destroy();
  });
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const reply = async (): Promise<string> => {
    const { value } = await lines.next();
    if (!/^\+OK/.test(String(value))) throw new Error(`the server said: ${value}`);
    return String(value);
  };
  await once(socket, 'connect');
  await reply();
  return {
    ok: command => {
      socket.write(`${command}\r\n`);
      return reply();
    },
  };
}

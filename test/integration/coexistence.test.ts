/**
 * Delivery agents beside sessions, through the real server: whatever lock a delivery takes, and whenever
 * it comes, each message is downloaded and deleted, or left in the mailbox file, exactly once (P1, C27).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { message } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { makePlaces, passwordOf, type RealServer, startReal, usersNamed } from '../support/real-server.js';

const USER = 'alice';
const DELIVERIES = 40;

/**
 * Appends messages one by one, each under a lock of its own, by argument: `dotlock` (a file made with
 * link(2), as liblockfile does), `fcntl`, or `both`, fcntl first. Waits and tries again like an agent that
 * must not lose mail.
 */
const DELIVER = `
import fcntl, os, sys, time
mailbox, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
lock, mine = mailbox + '.lock', '%s/.%s.%d' % (os.path.dirname(mailbox), kind, os.getpid())
def dotlock():
    with open(mine, 'w') as f:
        f.write('%d\\n' % os.getpid())
    try:
        os.link(mine, lock)
        return True
    except FileExistsError:
        return False
    finally:
        os.unlink(mine)
def deliver(text):
    with open(mailbox, 'ab') as f:
        if kind != 'dotlock':
            fcntl.lockf(f, fcntl.LOCK_EX)
        if kind != 'fcntl' and not dotlock():
            return False
        f.seek(0, 2)
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
        if kind != 'fcntl':
            os.unlink(lock)
        return True
for n in range(count):
    name = '%s%d' % (kind, n)
    text = 'From %s@example.com Mon Jan  5 10:00:00 2026\\nSubject: <%s>\\n\\n%s\\n\\n' % (name, name, 'body\\n' * n)
    while not deliver(text.encode()):
        time.sleep(0.003)
    time.sleep(0.004)
`;

async function deliver(mailbox: string, kind: string): Promise<void> {
  const args = ['-c', DELIVER, mailbox, kind, String(DELIVERIES)];
  const child = spawn('python3', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  expect(await once(child, 'exit')).toEqual([0, null]);
}

const SUBJECT = /^Subject: (<[a-z]+\d+>)$/gm;
const subjects = (text: string) => [...text.replaceAll('\r', '').matchAll(SUBJECT)].map(match => match[1]!);

/** One session that downloads and deletes two of three messages. @returns the subjects of those that are gone */
async function download({ port }: RealServer): Promise<{ gone: string[]; seen: number }> {
  const client = await Pop3Client.greeted(port);
  try {
    await client.ok(`USER ${USER}`);
    const reply = await client.ask(`PASS ${passwordOf(USER)}`);
    // A delivery is in the way, or the session before is not quite over: come again.
    if (/^-ERR \[IN-USE\] /.test(reply)) return { gone: [], seen: -1 };
    expect(reply).toMatch(/^\+OK /);
    const listed = await client.listing('LIST');
    const gone: string[] = [];
    for (const n of listed.keys()) {
      const { content } = await client.multiline(`RETR ${n + 1}`);
      if (n % 3 === 2) continue;
      gone.push(...subjects(content.toString('latin1')));
      await client.ok(`DELE ${n + 1}`);
    }
    const quit = await client.ask('QUIT');
    // Refused for a delivery that does not end: nothing is gone, try again.
    if (!quit.startsWith('+OK ')) expect(quit).toMatch(/^-ERR \[IN-USE\] /);
    return { gone: quit.startsWith('+OK ') ? gone : [], seen: listed.length };
  } finally {
    client.socket.destroy();
  }
}

test.each([
  ['locked while indexing and updating only', 0],
  ['locked for a moment', 3],
  ['locked throughout', Number.POSITIVE_INFINITY],
])('sessions while three delivery agents work: %s', async (_, lockYield) => {
  const places = makePlaces({ [USER]: message('first') });
  const server = await startReal(places, usersNamed(USER), { lockYield, lockTimeout: 5000 });
  const mailbox = join(places.spool, USER);
  const kinds = ['dotlock', 'fcntl', 'both'];
  let delivering = true;
  const delivered = Promise.all(kinds.map(kind => deliver(mailbox, kind))).then(() => {
    delivering = false;
  });
  const gone: string[] = [];
  // The last session begins when all is there.
  for (let last = false; !last; ) {
    const all = !delivering;
    const session = await download(server);
    gone.push(...session.gone);
    last = all && session.seen >= 0;
  }
  await delivered;
  await server.close();
  const rest = subjects(readFileSync(mailbox, 'latin1'));
  const all = kinds.flatMap(kind => Array.from({ length: DELIVERIES }, (_, n) => `<${kind}${n}>`));
  expect([...gone, ...rest].sort()).toEqual(all.sort());
  expect(gone.length).toBeGreaterThan(0);
  expect(readdirSync(places.spool)).toEqual([USER]);
  expect(server.logged.filter(line => /^(error|warn) .*(internal|update-failed|lost)/.test(line))).toEqual(
    [],
  );
});

/**
 * A spool where everybody may create files, and one of them is not nice: whatever stands in the place of the
 * lock or the mailbox, nobody's mail is shown to another, nothing is followed, truncated or waited for.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished } from 'vitest';
import { message, messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { testAsRoot } from './as-root.js';
import { nowait, SECRET, tryLogin } from './login.js';
import { ALICE, BOB, MAIL_OF_ALICE, ScratchHost } from './scratch-host.js';

async function sticky(): Promise<ScratchHost> {
  const host = await ScratchHost.create();
  host.setSpool(0o1777, 0);
  host.fill('alice', MAIL_OF_ALICE.join(''), ALICE);
  host.fill('bob', message('of bob', 'SECRET OF BOB\n'), BOB);
  return host;
}

describe('C22: somebody holds alice.lock for ever', () => {
  const plants: [string, (path: string, host: ScratchHost) => void][] = [
    ['a file', path => writeFileSync(path, '')],
    ['a directory', path => mkdirSync(path)],
    ['a symbolic link to what alice owns', (path, host) => symlinkSync(host.mailbox('alice'), path)],
    ['a symbolic link to nothing', path => symlinkSync('/nonexistent/x', path)],
    ['a hard link to a file of root', (path, host) => linkSync(host.etc('passwd'), path)],
    ['a FIFO', path => spawnSync('mkfifo', [path])],
  ];
  for (const [name, plant] of plants) {
    testAsRoot([], `${name}: [IN-USE] in time, and the log names its owner`, async () => {
      const host = await sticky();
      const lock = `${host.mailbox('alice')}.lock`;
      plant(lock, host);
      if (!name.startsWith('a hard link')) spawnSync('chown', ['-h', String(BOB.uid), lock]);
      const asNow = () => {
        const { ino, mode, uid, size, mtimeMs } = lstatSync(lock);
        return { ino, mode, uid, size, mtimeMs, passwd: readFileSync(host.etc('passwd'), 'latin1') };
      };
      const before = asNow();
      const door = await nowait(host, ['--failure-delay=0', '--lock-timeout=1']);
      expect(await tryLogin(door, 'alice')).toMatch(/^-ERR \[IN-USE\]/);
      const owner = name.startsWith('a hard link') ? 0 : BOB.uid;
      expect(await host.logged(/IN-USE/)).toContain(`uid ${owner}`);
      expect(asNow()).toEqual(before);
      expect(host.content('alice')).toBe(MAIL_OF_ALICE.join(''));
      expect(host.spoolNames()).toEqual(['alice', 'alice.lock', 'bob']);
      // Everybody else has theirs.
      expect(await tryLogin(door, 'bob')).toMatch(/^\+OK/);
    });
  }
});

describe('C23: in the place of the mailbox', () => {
  const plants: [string, (path: string, host: ScratchHost) => void][] = [
    ['a symbolic link to her own file', (path, host) => symlinkSync(join(host.root, 'own'), path)],
    ["a symbolic link to somebody else's", (path, host) => symlinkSync(host.mailbox('bob'), path)],
    ['a symbolic link to nothing', path => symlinkSync('/nonexistent/x', path)],
    ["a hard link to somebody else's", (path, host) => linkSync(host.mailbox('bob'), path)],
    ['a hard link to her own file', (path, host) => linkSync(join(host.root, 'own'), path)],
    ['a FIFO', path => spawnSync('mkfifo', [path])],
    ['a device', path => spawnSync('mknod', [path, 'c', '1', '5'])],
    ['a directory', path => mkdirSync(path)],
    [
      'a socket',
      path => spawnSync('python3', ['-c', 'import socket, sys; socket.socket(1).bind(sys.argv[1])', path]),
    ],
  ];
  for (const [name, plant] of plants) {
    testAsRoot([], `${name}: [SYS/PERM], at once`, async () => {
      const host = await sticky();
      const own = join(host.root, 'own');
      writeFileSync(own, MAIL_OF_ALICE.join(''));
      chownSync(own, ALICE.uid, ALICE.gid);
      rmSync(host.mailbox('alice'));
      plant(host.mailbox('alice'), host);
      const door = await nowait(host, ['--failure-delay=0', '--lock-timeout=1']);
      expect(await tryLogin(door, 'alice')).toBe('-ERR [SYS/PERM] mailbox file refused');
      expect(readFileSync(own, 'latin1')).toBe(MAIL_OF_ALICE.join(''));
      expect(host.content('bob')).toContain('SECRET OF BOB');
      expect(host.spoolNames()).toEqual(['alice', 'bob']);
    });
  }
});

const SESSIONS = 40;

/**
 * Exchanges what has the mailbox's name with a symbolic link, a hard link, a FIFO and a directory, as fast as
 * it can until its standard input ends; says how often.
 */
const SWAPPER = `
import ctypes, os, select, sys
path, spare, other = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
os.symlink(other, spare + '0')
os.link(other, spare + '1')
os.mkfifo(spare + '2')
os.mkdir(spare + '3')
slots = [(spare + str(i)).encode() for i in range(4)]
print('ready', flush=True)
count = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(250):
        for slot in slots:
            assert libc.renameat2(-100, path.encode(), -100, slot, 2) == 0
    count += 1000
    if count == 100_000: print('many', flush=True)
print(count, flush=True)
`;

testAsRoot([], 'C23: a swapper, 100,000 times and more, while sessions open and delete', async () => {
  const host = await sticky();
  const mails = messages(200);
  host.fill('alice', mails.join(''), ALICE);
  const spare = join(host.root, 'spare');
  mkdirSync(spare);
  const swapper = spawn('python3', ['-c', SWAPPER, host.mailbox('alice'), `${spare}/`, host.mailbox('bob')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    swapper.kill('SIGKILL');
  });
  await once(swapper.stdout, 'data');
  let many = false;
  const enough = once(swapper.stdout, 'data').then(() => {
    many = true;
  });

  const door = await nowait(host, [
    '--failure-delay=0',
    '--lock-timeout=1',
    '--locks=fcntl',
    '--lock-yield=0',
  ]);
  let removed = 0;
  const answers: string[] = [];
  // Until there were so many exchanges; of the messages some are to be left.
  for (let n = 0; n < SESSIONS || !many; n++) {
    const client = await Pop3Client.greeted(door.port);
    const deletes = n < SESSIONS ? 'DELE 1\r\n' : '';
    client.send(`USER alice\r\nPASS ${SECRET}\r\nRETR 1\r\n${deletes}QUIT\r\n`);
    const said = await client.rest();
    expect(said).not.toContain('SECRET OF BOB');
    answers.push(/\n((?:\+OK|-ERR) ?(?:\[[^\]]+\])?)/.exec(said)![1]!.trim());
    const lines = said.split('\r\n');
    if (/^\+OK.* deleted/i.test(lines.at(-3) ?? '') && lines.at(-2)!.startsWith('+OK')) removed++;
  }
  await enough;
  const counted = once(swapper.stdout, 'data');
  swapper.stdin.end();
  const [count] = await counted;
  expect(Number(String(count))).toBeGreaterThanOrEqual(100_000);

  expect(await door.exits()).toEqual(answers.map(() => 0));
  expect(host.content('bob')).toBe(message('of bob', 'SECRET OF BOB\n'));
  const places = [host.mailbox('alice'), ...[0, 1, 2, 3].map(i => join(spare, String(i)))];
  const own = places.find(path => lstatSync(path).isFile() && lstatSync(path).nlink === 1)!;
  // An UPDATE that found another file in the place of its own has stopped; the next login finishes it.
  if (own !== host.mailbox('alice')) {
    rmSync(host.mailbox('alice'), { recursive: true });
    renameSync(own, host.mailbox('alice'));
  }
  expect(await tryLogin(door, 'alice')).toMatch(/^\+OK/);
  const left = host.content('alice');
  const first = mails.findIndex((_, i) => mails.slice(i).join('') === left);
  expect(first).toBeGreaterThanOrEqual(removed);
  const counts: Record<string, number> = {};
  for (const answer of answers) counts[answer] = (counts[answer] ?? 0) + 1;
  process.stderr.write(
    `against ${String(count).trim()} exchanges: ${JSON.stringify(counts)}, ${removed} removed\n`,
  );
});

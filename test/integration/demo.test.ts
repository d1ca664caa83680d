/**
 * `mbox-pop3d demo`, what `npm start` runs: serves a copy of the examples, which it never touches, and
 * leaves nothing behind; for root and for an ordinary user, and from wherever it is installed.
 */
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Expected, FIXTURES } from '../clients/expected.js';
import { startDemo, temporary } from '../support/demo.js';
import { installInto } from '../support/installed.js';
import { scratchDir } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT, run } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { SERVED_BY } from '../support/serving.js';

const USER = 'alice';

/** Content and times of every example. */
function examples(): string[] {
  return readdirSync(FIXTURES).map(name => {
    const path = join(FIXTURES, name);
    return `${name} ${statSync(path).mtimeMs} ${statSync(path).mode} ${readFileSync(path, 'latin1')}`;
  });
}

/** Downloads all and deletes two of the messages. */
async function tryOut(port: number): Promise<void> {
  const expected = new Expected(USER);
  const client = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
  for (const [i, wire] of expected.wire.entries()) {
    const { content } = await client.multiline(`RETR ${i + 1}`);
    expect(content.toString('latin1')).toBe(wire);
  }
  await client.ok('DELE 1');
  await client.ok('DELE 3');
  expect(await client.ok('QUIT')).toContain(`(${expected.count - 2} messages left)`);
  await client.rest();
  const again = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
  expect(await again.ok('STAT')).toMatch(new RegExp(`^\\+OK ${expected.count - 2} `));
}

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s ends it, nothing is left', async signal => {
  const before = examples();
  const tmp = temporary();
  const { demo, port } = await startDemo([], { tmp, ...(IS_ROOT && SERVED_BY) });
  if (signal === 'SIGINT') await tryOut(port);
  demo.child.kill(signal);
  expect(await demo.exited).toBe(0);
  expect(readdirSync(tmp)).toEqual([]);
  expect(examples()).toEqual(before);
});

test('what it prints can be pasted', async () => {
  const { demo, port } = await startDemo();
  const text = demo.stdout();
  const [, user, password] = /curl -u ([^:]+):(\S+) pop3:\/\/127\.0\.0\.1:\d+\/1 /.exec(text)!;
  expect(text).toContain(`pop3://127.0.0.1:${port}/`);
  await Pop3Client.loggedIn(port, user!, password!);
});

test('every user it names can log in, or is told why not', async () => {
  const { demo, port } = await startDemo();
  const users = /users: +(.*)/.exec(demo.stdout())![1]!.split(' ');
  expect(users.length).toBeGreaterThanOrEqual(12);
  const refused: string[] = [];
  for (const user of users) {
    const client = await Pop3Client.greeted(port);
    await client.ok(`USER ${user}`);
    const reply = await client.ask(`PASS ${passwordOf(user)}`);
    if (!reply.startsWith('+OK ')) refused.push(`${user}: ${reply}`);
  }
  // The example of a file that is not a mailbox.
  expect(refused).toEqual([expect.stringMatching(/^mallory: -ERR \[SYS\/PERM\] /)]);
});

test('a port in use is one line, and nothing is left', async () => {
  const { port } = await startDemo();
  const tmp = temporary();
  const args = ['demo', '--listen', `127.0.0.1:${port}`];
  const { code, stdout, stderr } = await run(args, { env: { TMPDIR: tmp } });
  expect([code, stdout]).toEqual([69, '']);
  expect(stderr).toMatch(/^mbox-pop3d: cannot listen on 127\.0\.0\.1:\d+: the address is in use$/m);
  expect(readdirSync(tmp)).toEqual([]);
});

test('installed below a directory that only its owner can enter', async () => {
  const dir = join(scratchDir(), 'private');
  mkdirSync(dir, { mode: 0o700 });
  const program = installInto(dir);
  const tmp = temporary();
  const { demo, port } = await startDemo([], { tmp, program });
  if (IS_ROOT) expect(demo.status('Uid')).toEqual(Array(4).fill(String(SERVED_BY.uid)));
  await tryOut(port);
  // A user with a DES hash and one with a crypt(3) hash: what checks them must be there.
  for (const user of ['bob', 'carol', 'dave']) await Pop3Client.loggedIn(port, user, passwordOf(user));
  expect(await demo.stop()).toBe(0);
  expect(readdirSync(tmp)).toEqual([]);
});

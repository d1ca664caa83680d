/** C71: with few descriptors, new connections are refused, old ones are served to their end. */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { DescriptorBudget, openFilesLimit } from '../../lib/server/descriptors.js';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { passwordOf } from '../support/real-server.js';
import { servePlaces, serving } from '../support/serving.js';

test.each([
  ['64', 3, 1],
  ['256', 115, 32],
  ['1024', 576, 160],
  ['unlimited', Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
])('%s open files: %d strangers, or %d sessions', (limit, connections, sessions) => {
  const line = `Max open files            ${limit}                 524288               files\n`;
  const budget = new DescriptorBudget(openFilesLimit(`Max processes   1 1 processes\n${line}`));
  expect([budget.connections, budget.sessions]).toEqual([connections, sessions]);
});

test('strangers leave room for sessions, sessions for nobody more than there is', () => {
  const budget = new DescriptorBudget(64 + 60);
  const strangers = Array.from({ length: 36 }, () => budget.connect());
  expect(strangers).not.toContain(undefined);
  expect(budget.connect()).toBeUndefined();
  // 24 are left: for four of them.
  const sessions = Array.from({ length: 4 }, () => budget.logIn());
  expect(sessions).not.toContain(undefined);
  expect(budget.logIn()).toBeUndefined();
  // Who could not log in is not let in.
  strangers[0]!();
  expect(budget.connect()).toBeUndefined();
  sessions[0]!.end();
  expect(budget.connect()).toBeDefined();
  expect(budget.logIn()).toBeDefined();
});

test('sessions at rest: many more may log in, and each can go on, before anybody new', async () => {
  const budget = new DescriptorBudget(64 + 600);
  const logIn = () => budget.connect() && budget.logIn();
  const sessions = [];
  for (let session = logIn(); session !== undefined; session = logIn()) {
    sessions.push(session);
    if (session.scarce) session.rest();
  }
  expect(sessions.length).toBeGreaterThan(budget.sessions * 2);
  // Each keeps one, a tenth is kept for them all, and the last of who came found too few to log in.
  expect(sessions.length).toBeLessThanOrEqual(600 - 60 - 5);
  const resting = sessions.slice(-20);
  const awake: number[] = [];
  const waking = resting.map((session, i) => session.wake().then(() => awake.push(i)));
  await new Promise(setImmediate);
  const at = awake.length;
  expect(at).toBeGreaterThan(9);
  expect(at).toBeLessThan(20);
  // What one gives back is for who waits, in order, and for nobody new.
  sessions[0]!.end();
  expect(budget.connect()).toBeUndefined();
  await new Promise(setImmediate);
  expect(awake).toEqual(Array.from({ length: at + 1 }, (_, i) => i));
  for (const session of resting.slice(0, 10)) session.rest();
  await Promise.all(waking);
  for (const session of sessions.slice(1)) session.end();
  expect(logIn()).toBeDefined();
});

test('ulimit -n 256: idle sessions do without, and each reads and deletes afterwards', async () => {
  const users = Array.from({ length: 50 }, (_, i) => `user${i}`);
  const mail = messages(3);
  const places = servePlaces(Object.fromEntries(users.map(user => [user, mail.join('')])));
  const flags = ['--max-connections', '500', '--max-connections-per-address', '500', '--lock-yield', '0'];
  const { server, port } = await serving(places, flags, {
    wrapper: ['sh', '-c', 'ulimit -n 256; exec "$0" "$@"'],
  });
  const sessions: Pop3Client[] = [];
  for (const user of users) {
    // Those before have gone to rest, or will soon.
    await vi.waitFor(async () => sessions.push(await Pop3Client.loggedIn(port, user, passwordOf(user))), {
      timeout: 30_000,
      interval: 100,
    });
  }
  const open = () => readdirSync(`/proc/${server.pid}/fd`).map(fd => linkOf(`/proc/${server.pid}/fd/${fd}`));
  const mailboxes = () =>
    open().filter(path => path.startsWith(places.spool) || path.startsWith(places.state));
  await vi.waitFor(() => expect(mailboxes().length).toBeLessThan(30), { timeout: 30_000 });
  // Of two at rest the mailbox is changed: by an append, and by another file of the same name.
  appendFileSync(places.mailbox('user48'), mail[0]!);
  renameSync(places.mailbox('user49'), join(places.state, 'elsewhere'));
  writeFileSync(places.mailbox('user49'), mail.join(''));
  chownLike(join(places.state, 'elsewhere'), places.mailbox('user49'));
  await Promise.all(
    sessions.slice(0, 49).map(async session => {
      expect((await session.multiline('RETR 2')).content).not.toBe('');
      await session.ok('DELE 1');
      await session.multiline('UIDL');
      await session.ok('QUIT');
    }),
  );
  expect(await sessions[49]!.ask('RETR 2')).toMatch(
    // It may have been awake still.
    /^-ERR \[SYS\/TEMP\] mailbox was (replaced|changed) by another program$/,
  );
  expect(await sessions[49]!.rest()).toBe('');
  for (const user of users.slice(0, 48)) expect(places.content(user)).toBe(mail.slice(1).join(''));
  expect(places.content('user48')).toBe([...mail.slice(1), mail[0]].join(''));
  expect(places.content('user49')).toBe(mail.join(''));
  expect(server.stderr()).not.toMatch(/EMFILE|internal-error|close-failed/);
});

test('ulimit -n 256: who has no mailbox file needs no descriptor for one', async () => {
  const users = Array.from({ length: 60 }, (_, i) => `user${i}`);
  const places = servePlaces(Object.fromEntries(users.map(user => [user, ''])));
  for (const user of users) rmSync(places.mailbox(user));
  const { port } = await serving(
    places,
    ['--max-connections', '500', '--max-connections-per-address', '500'],
    {
      wrapper: ['sh', '-c', 'ulimit -n 256; exec "$0" "$@"'],
    },
  );
  for (const round of ['first', 'second']) {
    const sessions: Pop3Client[] = [];
    for (const user of users) sessions.push(await Pop3Client.loggedIn(port, user, passwordOf(user)));
    for (const session of sessions) expect(await session.ask('STAT'), round).toBe('+OK 0 0');
    for (const session of sessions) await session.ok('QUIT');
  }
});

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // Closed meanwhile.
  }
}

function chownLike(like: string, path: string): void {
  const { uid, gid, mode } = statSync(like);
  chmodSync(path, mode & 0o777);
  chownSync(path, uid, gid);
}

test('ulimit -n 256, 500 clients: the first are served, the others told so; afterwards all is as before', async () => {
  const users = Array.from({ length: 20 }, (_, i) => `user${i}`);
  const mail = messages(3);
  const places = servePlaces(Object.fromEntries(users.map(user => [user, mail.join('')])));
  const flags = ['--max-connections', '5000', '--max-connections-per-address', '5000'];
  const { server, port } = await serving(places, flags, {
    wrapper: ['sh', '-c', 'ulimit -n 256; exec "$0" "$@"'],
  });
  await server.logged(/fewer-connections possible=32/);
  const sessions = await Promise.all(users.map(user => Pop3Client.loggedIn(port, user, passwordOf(user))));
  const crowd = await Promise.all(Array.from({ length: 500 }, () => Pop3Client.connect(port)));
  const greetings = await Promise.all(crowd.map(client => client.line()));
  expect(greetings.filter(line => line.startsWith('+OK')).length).toBe(67);
  const refused = greetings.filter(line => !line.startsWith('+OK'));
  expect(new Set(refused)).toEqual(new Set(['-ERR [SYS/TEMP] too many connections, try again later']));
  // Everybody deletes, each with a lock and a journal, while the crowd is there.
  await Promise.all(
    sessions.map(async session => {
      await session.ok('DELE 1');
      await session.multiline('RETR 2');
      await session.ok('QUIT');
    }),
  );
  for (const user of users) {
    expect(places.content(user)).toBe(mail.slice(1).join(''));
    expect(existsSync(`${places.mailbox(user)}.lock`)).toBe(false);
  }
  for (const client of crowd) client.reset();
  await vi.waitFor(
    async () => {
      const again = await Pop3Client.loggedIn(port, users[0]!, passwordOf(users[0]!));
      await again.ok('QUIT');
    },
    { timeout: 30_000, interval: 20 },
  );
  const log = server.stderr();
  expect(log.match(/ refused reason/g)?.length).toBeLessThanOrEqual(10);
  expect(log).not.toMatch(/EMFILE|internal-error/);
});

test('ulimit -n 256: strangers may be many, and some of them can log in; one too many is told so', async () => {
  const users = Array.from({ length: 17 }, (_, i) => `user${i}`);
  const places = servePlaces(Object.fromEntries(users.map(user => [user, messages(1).join('')])));
  const flags = ['--max-connections', '500', '--max-connections-per-address', '500'];
  const { port } = await serving(places, flags, {
    wrapper: ['sh', '-c', 'ulimit -n 256; exec "$0" "$@"'],
  });
  const crowd = await Promise.all(Array.from({ length: 116 }, () => Pop3Client.connect(port)));
  const greetings = await Promise.all(crowd.map(client => client.line()));
  const inside = crowd.filter((_, i) => greetings[i]!.startsWith('+OK'));
  expect(inside).toHaveLength(115);
  // 77 descriptors are left, for 15 sessions.
  const answers: string[] = [];
  for (const [i, user] of users.slice(0, 16).entries()) {
    await inside[i]!.ok(`USER ${user}`);
    inside[i]!.send(`PASS ${passwordOf(user)}\r\n`);
    answers.push(await inside[i]!.line());
  }
  expect(answers.slice(0, 15).filter(line => !line.startsWith('+OK'))).toEqual([]);
  expect(answers[15]).toBe('-ERR [SYS/TEMP] too many sessions, try again later');
  await inside[0]!.ok('QUIT');
  inside[16]!.send(`USER user16\r\nPASS ${passwordOf('user16')}\r\n`);
  await inside[16]!.line();
  expect(await inside[16]!.line()).toMatch(/^\+OK/);
});

/** Who may log in, how often, and who may only read: the daemon over real sockets. */
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import type { Running } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { SERVED_BY, servePlaces, serving } from '../support/serving.js';
import { withStopped } from '../support/workers.js';

const MAIL = messages(3).join('');
const QUICK = ['--failure-delay', '0', '--max-failure-delay', '0'];
const REFUSED = '-ERR [AUTH] Authentication failed';

async function tryLogin(port: number, user: string, password = passwordOf(user)): Promise<string> {
  const client = await Pop3Client.greeted(port);
  await client.ok(`USER ${user}`);
  const reply = await client.ask(`PASS ${password}`);
  await client.ok('QUIT');
  return reply;
}

test('allow and deny users; the refusal is one like any other, and only the log knows', async () => {
  const places = servePlaces({ alice: MAIL, bob: MAIL, carol: MAIL });
  const { port, server } = await serving(places, [
    ...QUICK,
    '--allow-users',
    'alice,bob',
    '--deny-users',
    'bob',
  ]);
  expect(await tryLogin(port, 'alice')).toMatch(/^\+OK/);
  expect(await tryLogin(port, 'bob')).toBe(REFUSED);
  expect(await tryLogin(port, 'carol')).toBe(REFUSED);
  expect(await tryLogin(port, 'nobody-there')).toBe(REFUSED);
  expect(server.stderr()).toMatch(/login-failed user=bob reason="user is in deny-users"/);
  expect(server.stderr()).toMatch(/login-failed user=carol reason="user is not in allow-users"/);
});

test('what the users file says of one user: no POP3, only from there, only reading', async () => {
  const places = servePlaces({ alice: MAIL, bob: MAIL, carol: MAIL, dave: MAIL });
  const { uid, gid } = SERVED_BY;
  const extras = {
    alice: 'pop3=no',
    bob: 'allow_nets=192.0.2.0/24',
    carol: 'readonly',
    dave: 'allow_nets=127.0.0.0/8',
  };
  const lines = Object.entries(extras).map(
    ([user, extra]) => `${user}:{PLAIN}${passwordOf(user)}:${uid}:${gid}::::${extra}\n`,
  );
  writeFileSync(places.users, lines.join(''));
  const { port, server } = await serving(places, QUICK);
  expect(await tryLogin(port, 'alice')).toBe(REFUSED);
  expect(await tryLogin(port, 'bob')).toBe(REFUSED);
  expect(await tryLogin(port, 'dave')).toMatch(/^\+OK/);
  expect(server.stderr()).toContain('reason="pop3=no"');
  const carol = await Pop3Client.loggedIn(port, 'carol', passwordOf('carol'));
  expect(await carol.ask('DELE 1')).toBe('-ERR [SYS/PERM] this maildrop is read-only');
  await carol.multiline('RETR 1');
  await carol.ok('QUIT');
  expect(places.content('carol')).toBe(MAIL);
  const changed = readFileSync(places.users, 'latin1').replace('readonly', '');
  writeFileSync(places.users, changed);
  const again = await Pop3Client.loggedIn(port, 'carol', passwordOf('carol'));
  await again.ok('DELE 1');
  await again.ok('QUIT');
  expect(places.content('carol')).toBe(messages(3).slice(1).join(''));
});

describe('networks', () => {
  test.each([
    ['denied', ['--deny-nets', '127.0.0.0/8']],
    ['not among the allowed', ['--allow-nets', '192.0.2.0/24,::1']],
    ['allowed and denied', ['--allow-nets', '127.0.0.1', '--deny-nets', '127.0.0.1/32']],
  ])('%s: told so instead of a greeting', async (_, flags) => {
    const places = servePlaces({ alice: MAIL });
    const { port, server } = await serving(places, flags);
    const client = await Pop3Client.connect(port);
    client.send('USER alice\r\n');
    expect(await client.rest()).toBe('-ERR [SYS/PERM] no service for your address\r\n');
    await server.logged(/127\.0\.0\.1 no-login reason=not-permitted/);
  });

  test('allowed: served; another address of the same host is not', async () => {
    const places = servePlaces({ alice: MAIL });
    const { port } = await serving(places, ['--allow-nets', '127.0.0.1']);
    expect(await tryLogin(port, 'alice')).toMatch(/^\+OK/);
    const other = await Pop3Client.connect(port, { localAddress: '127.0.0.2' });
    expect(await other.line()).toMatch(/^-ERR \[SYS\/PERM\]/);
  });
});

test('max-login-failures: n-1 go on, the n-th ends the connection', async () => {
  const places = servePlaces({ alice: MAIL });
  const { port, server } = await serving(places, [...QUICK, '--max-login-failures', '3']);
  const client = await Pop3Client.greeted(port);
  for (let i = 0; i < 2; i++) {
    await client.ok('USER alice');
    expect(await client.ask('PASS wrong')).toBe(REFUSED);
  }
  await client.ok('USER alice');
  client.send('PASS wrong\r\nUSER alice\r\n');
  expect(await client.rest()).toBe(`${REFUSED}\r\n`);
  await server.logged(/no-login reason=failed-logins/);
  const right = await Pop3Client.greeted(port);
  for (let i = 0; i < 2; i++) {
    await right.ok('USER alice');
    await right.ask('PASS wrong');
  }
  await right.logIn('alice', passwordOf('alice'));
});

test.each([
  ['--max-bad-commands-before-login', false],
  ['--max-bad-commands', true],
])('%s: n-1 go on, the n-th ends the connection', async (flag, loggedIn) => {
  const places = servePlaces({ alice: MAIL });
  const { port, server } = await serving(places, [...QUICK, flag, '4']);
  const client = await Pop3Client.greeted(port);
  if (loggedIn) await client.logIn('alice', passwordOf('alice'));
  for (let i = 0; i < 2; i++) {
    for (let n = 1; n < 4; n++) expect(await client.ask('GET / HTTP/1.1')).toMatch(/^-ERR unknown/);
    await client.multiline('CAPA');
  }
  client.send('BAD\r\n'.repeat(5));
  expect(await client.rest()).toMatch(/^(-ERR unknown[^\n]*\n){3}-ERR too many bad commands\r\n$/);
  await server.logged(/reason=bad-commands/);
});

/** So that all are there before the first is read, and none has waited long enough when the last is. */
function sendAtOnce({ pid }: Running, clients: readonly Pop3Client[], line: string): Promise<void> {
  return withStopped([pid], async () => {
    for (const client of clients) client.send(line);
  });
}

test('a guesser waits, more and more; the user, who has logged in from there before, does not', async () => {
  const places = servePlaces({ alice: MAIL, bob: MAIL });
  const flags = ['--failure-delay', '0', '--max-failure-delay', '1', '--max-waiting-logins', '2'];
  const { port, server } = await serving(places, flags);
  expect(await tryLogin(port, 'alice')).toMatch(/^\+OK/);
  for (let i = 0; i < 3; i++) await tryLogin(port, 'bob', 'wrong');
  const guessers = await Promise.all([1, 2, 3].map(() => Pop3Client.greeted(port)));
  for (const guesser of guessers) await guesser.ok('USER bob');
  await sendAtOnce(server, guessers, 'PASS wrong\r\n');
  const replies = await Promise.all(guessers.map(guesser => guesser.line()));
  expect(replies.sort()).toEqual([
    REFUSED,
    REFUSED,
    '-ERR [SYS/TEMP] too many login attempts from your address, try again later',
  ]);
  await server.logged(/login-failed user=bob reason="wrong password" method=USER waited=1/);
  expect(await tryLogin(port, 'alice')).toMatch(/^\+OK/);
  // Bob's own password still lets him in, after a wait.
  expect(await tryLogin(port, 'bob')).toMatch(/^\+OK/);
});

test('who guesses too often at a time costs the log one line, and a number', async () => {
  const flags = ['--failure-delay', '0', '--max-failure-delay', '20', '--max-waiting-logins', '1'];
  const { port, server } = await serving(servePlaces({ bob: MAIL }), flags);
  for (let i = 0; i < 3; i++) await tryLogin(port, 'bob', 'wrong');
  const guessers = await Promise.all(Array.from({ length: 13 }, () => Pop3Client.greeted(port)));
  for (const guesser of guessers) await guesser.ok('USER bob');
  await sendAtOnce(server, guessers, 'PASS wrong\r\n');
  const replies = await Promise.all(guessers.map(guesser => guesser.line()));
  expect(replies.filter(reply => reply !== REFUSED).length).toBe(12);
  await server.stop();
  expect(server.stderr().match(/message="too many login attempts/g)?.length).toBe(1);
  expect(server.stderr()).toMatch(/ refused-more of=login-failed connections=11\n/);
});

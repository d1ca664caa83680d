/**
 * Takeover between real processes: two daemons, a daemon and a process of inetd, one process, one that is
 * stopped. When a silence is long enough is for the server to say: who comes new tries until it is.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { messages } from '../support/mailbox.js';
import { Nowait } from '../support/nowait.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT } from '../support/program.js';
import { makePlaces, passwordOf, startReal, usersNamed } from '../support/real-server.js';
import { flagsFor, SERVED_BY, servePlaces, serving } from '../support/serving.js';
import { tlsConnect } from '../support/tls/certificates.js';

const USER = 'alice';
const MAIL = messages(3);
const PROGRAM = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;
const IN_USE = /^-ERR \[IN-USE\] maildrop is in use by another POP3 session since \S+ from 127\.0\.0\.1$/;

/** @returns the reply to PASS, and the client */
async function tryLogin(connect: () => Promise<Pop3Client>): Promise<{ reply: string; client: Pop3Client }> {
  const client = await connect();
  await client.ok(`USER ${USER}`);
  return { reply: await client.ask(`PASS ${passwordOf(USER)}`), client };
}

async function logInAtLast(connect: () => Promise<Pop3Client>): Promise<Pop3Client> {
  for (;;) {
    const { reply, client } = await tryLogin(connect);
    if (reply.startsWith('+OK')) return client;
    expect(reply).toMatch(IN_USE);
    client.socket.destroy();
  }
}

const places = () => servePlaces({ [USER]: MAIL.join('') });
const SOON = ['--takeover', '0.2'];
/** Longer than any test: who gives way is wrong. */
const LATE = ['--takeover', '3600'];

test.each(['of another daemon', 'of the same daemon', 'of a process of inetd'])(
  'a silent session %s gives way; what it had marked stays',
  async whose => {
    const at = places();
    const { server, port } = await serving(at, SOON);
    let other = port;
    if (whose === 'of another daemon') other = (await serving(at, SOON)).port;
    if (whose === 'of a process of inetd') {
      const flags = [...flagsFor(at).filter(flag => flag !== 'serve'), ...SOON];
      const door = await Nowait.start(
        [process.execPath, PROGRAM, 'inetd', ...flags],
        IS_ROOT ? SERVED_BY : {},
      );
      other = door.port;
    }
    const old = await Pop3Client.loggedIn(other, USER, passwordOf(USER));
    await old.ok('DELE 1');
    const client = await logInAtLast(() => Pop3Client.greeted(port));
    expect(await client.ok('STAT')).toMatch(/^\+OK 3 /);
    expect(await old.rest()).toBe('');
    await client.ok('DELE 2');
    await client.ok('QUIT');
    expect(at.content(USER)).toBe(MAIL[0]! + MAIL[2]!);
    expect(server.stderr()).toMatch(/ 127\.0\.0\.1 takeover user=alice from=127\.0\.0\.1 since=/);
    // Where one daemon has had both, for a moment after the last.
    const sockets = () => readdirSync(join(at.state, 'run')).filter(name => name.endsWith('.socket'));
    await expect.poll(sockets, { timeout: 30_000 }).toEqual([]);
  },
);

test.each(['that waits for nothing', 'in the middle of a message'])(
  'a silent session %s gives way though TLS is in between, to one that has it, too',
  async when => {
    const options = { takeover: 200, certificate: 'ec' } as const;
    const big = `From a@b Sat Jan  3 01:05:34 1998\n\n${`${'x'.repeat(76)}\n`.repeat(150_000)}\n`;
    const at = makePlaces({ [USER]: MAIL.join('') + big });
    const server = await startReal(at, usersNamed(USER), options);
    const secure = async () => {
      const client = Pop3Client.over(await tlsConnect({ port: server.tlsPort }));
      await client.line();
      return client;
    };
    const old = await secure();
    await old.logIn(USER, passwordOf(USER));
    await old.ok('DELE 1');
    if (when === 'in the middle of a message') {
      old.send(`RETR ${MAIL.length + 1}\r\n`);
      old.socket.removeAllListeners('data').pause();
    }
    const client = await logInAtLast(secure);
    expect(await client.ok('STAT')).toMatch(/^\+OK 4 /);
    old.read();
    old.socket.resume();
    expect((await old.rest()).endsWith('\r\n.\r\n')).toBe(false);
    const ends = server.logged.filter(line => / (takeover|logout) /.test(line));
    expect(ends).toEqual([
      expect.stringMatching(/ logout user=alice reason=taken-over .* deleted=0 left=4 /),
      expect.stringMatching(/ takeover user=alice from=127\.0\.0\.1 since=/),
    ]);
    await client.ok('QUIT');
  },
);

test('who has not logged in ends no session', async () => {
  const at = places();
  const { port, server } = await serving(at, ['--takeover', '0.001', '--failure-delay', '0']);
  const old = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
  for (const password of ['wrong', '', passwordOf('bob')]) {
    const client = await Pop3Client.greeted(port);
    await client.ok(`USER ${USER}`);
    expect(await client.ask(`PASS ${password}`)).toMatch(/^-ERR/);
  }
  await old.ok('NOOP');
  expect(server.stderr()).not.toMatch(/taken-over/);
});

test('a stopped process keeps what it has, also from who asked while it was', async () => {
  const at = places();
  const [holder, other] = [await serving(at, ['--takeover', '0.001']), await serving(at, LATE)];
  const old = await Pop3Client.loggedIn(holder.port, USER, passwordOf(USER));
  await old.ok('DELE 1');
  process.kill(holder.server.pid, 'SIGSTOP');
  expect((await tryLogin(() => Pop3Client.greeted(other.port))).reply).toMatch(IN_USE);
  process.kill(holder.server.pid, 'SIGCONT');
  // Answered after the question that nobody waits for any more.
  await old.ok('QUIT');
  expect(at.content(USER)).toBe(MAIL[1]! + MAIL[2]!);
  expect(holder.server.stderr()).not.toMatch(/taken-over/);
});

test('a killed process leaves nothing in the way', async () => {
  const at = places();
  const [holder, other] = [await serving(at, LATE), await serving(at, LATE)];
  await Pop3Client.loggedIn(holder.port, USER, passwordOf(USER));
  holder.server.child.kill('SIGKILL');
  await holder.server.exited;
  const client = await Pop3Client.loggedIn(other.port, USER, passwordOf(USER));
  await client.ok('QUIT');
  await client.rest();
  expect(readdirSync(join(at.state, 'run')).filter(name => name.endsWith('.socket'))).toEqual([]);
});

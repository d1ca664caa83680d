/**
 * Clients that are broken or mean harm, over real sockets and against mailbox files: connections lost at
 * every point, lines without end, garbage, readers that do not read. Each costs little, changes nothing,
 * and holds no lock afterwards.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { message, messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import {
  makePlaces,
  passwordOf,
  type RealOptions,
  type RealServer,
  startReal,
  usersNamed,
} from '../support/real-server.js';

const USER = 'alice';
const MAILBOX = messages(12).join('');
const PATIENCE = { timeout: 30_000, interval: 2 };

async function serverOf(content: string, options: RealOptions = {}): Promise<RealServer> {
  return startReal(makePlaces({ [USER]: content, bob: message('bob') }), usersNamed(USER, 'bob'), options);
}

const contentOf = ({ spool }: RealServer) => readFileSync(join(spool, USER), 'latin1');

/** Every session over, no lock left: the next login succeeds at once. */
async function expectUntouched(server: RealServer, content: string): Promise<void> {
  await vi.waitFor(() => expect(server.tcp.connections).toBe(0), PATIENCE);
  await expect.poll(() => readdirSync(server.spool).sort(), PATIENCE).toEqual([USER, 'bob']);
  expect(contentOf(server)).toBe(content);
  const client = await Pop3Client.loggedIn(server.port, USER, passwordOf(USER));
  client.socket.destroy();
  await vi.waitFor(() => expect(server.tcp.connections).toBe(0), PATIENCE);
  expect(server.logged.filter(line => line.startsWith('error'))).toEqual([]);
}

describe('C11: no complete QUIT, no UPDATE', () => {
  const SESSION = `USER ${USER}\r\nPASS ${passwordOf(USER)}\r\nDELE 1\r\nRETR 2\r\nDELE 12\r\nQUIT\r\n`;
  const cuts = Array.from({ length: SESSION.length }, (_, i) => i);

  test.each([
    ['FIN', (client: Pop3Client) => client.socket.end()],
    ['RST', (client: Pop3Client) => client.reset()],
    ['a close without reading', (client: Pop3Client) => client.socket.destroy()],
  ])('the connection is lost after any octet of a session: %s', async (how, leave) => {
    const server = await serverOf(MAILBOX);
    for (const cut of cuts.filter(at => how === 'FIN' || at % 5 === 0 || at > SESSION.length - 8)) {
      const client = await Pop3Client.connect(server.port, { reading: how !== 'a close without reading' });
      client.send(SESSION.slice(0, cut));
      if (how !== 'FIN') await new Promise(resolve => setImmediate(resolve));
      leave(client);
      // One after the other: a session before may still hold the maildrop.
      await vi.waitFor(() => expect(server.tcp.connections).toBe(0), PATIENCE);
      if (contentOf(server) !== MAILBOX) throw new Error(`changed after ${cut} octets`);
    }
    await expectUntouched(server, MAILBOX);
  });

  test('the same session, whole, removes what it marked', async () => {
    const server = await serverOf(MAILBOX);
    const client = await Pop3Client.connect(server.port);
    client.send(SESSION);
    client.socket.end();
    expect(await client.rest()).toMatch(/signing off \(10 messages left\)\r\n$/);
    expect(contentOf(server)).toBe(messages(12).slice(1, -1).join(''));
  });

  test('QUIT and its UPDATE, the connection lost meanwhile: all or nothing', async () => {
    const server = await serverOf(MAILBOX);
    const client = await Pop3Client.loggedIn(server.port, USER, passwordOf(USER));
    await client.ok('DELE 1');
    client.send('QUIT\r\n');
    client.reset();
    await vi.waitFor(() => expect(server.tcp.connections).toBe(0), PATIENCE);
    expect([MAILBOX, messages(12).slice(1).join('')]).toContain(contentOf(server));
    await expect.poll(() => readdirSync(server.spool).sort(), PATIENCE).toEqual([USER, 'bob']);
  });
});

test('C6: RST in the middle of a multi-line reply: the locks are free', async () => {
  const large = message('large', 'a line\n'.repeat(300_000)) + MAILBOX;
  const server = await serverOf(large);
  for (const command of ['RETR 1', 'TOP 1 200000', 'LIST', 'UIDL', 'CAPA', 'RETR 1\r\nRETR 1']) {
    for (const octets of [0, 1, 100_000]) {
      const client = await Pop3Client.loggedIn(server.port, USER, passwordOf(USER));
      await client.ok('DELE 2');
      expect(existsSync(join(server.spool, `${USER}.lock`))).toBe(true);
      client.send(`${command}\r\n`);
      if (octets > 0) await client.line();
      if (octets > 1 && /^(RETR|TOP)/.test(command))
        await vi.waitUntil(() => client.socket.bytesRead > octets, PATIENCE);
      client.reset();
      await vi.waitFor(() => expect(server.tcp.connections).toBe(0), PATIENCE);
      expect(existsSync(join(server.spool, `${USER}.lock`))).toBe(false);
    }
  }
  await expectUntouched(server, large);
});

test('binary garbage: one answer a line, then the end; others are served', async () => {
  const server = await serverOf(MAILBOX);
  const other = await Pop3Client.loggedIn(server.port, 'bob', passwordOf('bob'));
  // Every octet but LF, over and over, in lines of 97.
  const octets = Buffer.from(Array.from({ length: 97 * 60 }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
  for (let i = 0; i < octets.length; i++)
    if (octets[i] === 10 || i % 97 === 96) octets[i] = 10 - (i % 97 === 96 ? 0 : 1);
  const client = await Pop3Client.greeted(server.port);
  client.send(octets);
  const replies = await client.rest();
  expect(replies).toMatch(/^(-ERR [\x20-\x7e]+\r\n){3}$/);
  expect(replies).toMatch(/too many bad commands\r\n$/);
  await other.multiline('RETR 1');
  await other.ok('QUIT');
  await expectUntouched(server, MAILBOX);
});

test('C68: a reader that does not read is sent no more than buffers hold, others are served', async () => {
  const large = message('large', 'a line\n'.repeat(700_000));
  const server = await serverOf(large);
  const slow = await Pop3Client.connect(server.port, { reading: false });
  slow.send(`USER ${USER}\r\nPASS ${passwordOf(USER)}\r\n${'RETR 1\r\n'.repeat(50)}`);
  await vi.waitFor(() => expect(server.logged.join()).toContain('login user=alice'), PATIENCE);
  for (let i = 0; i < 20; i++) {
    const other = await Pop3Client.loggedIn(server.port, 'bob', passwordOf('bob'));
    await other.multiline('RETR 1');
    await other.ok('QUIT');
    await other.rest();
  }
  // What it asked for first is there once it reads, whole.
  slow.read();
  for (let i = 0; i < 3; i++) await slow.line();
  const { content } = await slow.nextMultiline();
  expect(
    content.toString('latin1') === large.replace(/^.*\n/, '').slice(0, -1).replaceAll('\n', '\r\n'),
  ).toBe(true);
  slow.reset();
  await expectUntouched(server, large);
});

describe('mailboxes that cannot be served: the right code, and others are', () => {
  async function expectRefused(server: RealServer, code: string): Promise<void> {
    const client = await Pop3Client.greeted(server.port);
    await client.ok(`USER ${USER}`);
    expect(await client.ask(`PASS ${passwordOf(USER)}`)).toMatch(new RegExp(`^-ERR \\[${code}\\] `));
    // Refused is not logged in, and not the end.
    expect(await client.ask('STAT')).toMatch(/^-ERR /);
    await client.logIn('bob', passwordOf('bob'));
    await client.ok('QUIT');
  }

  test('garbage', async () => {
    const server = await serverOf('\0\xff garbage\n\n\nFrom nowhere\n');
    await expectRefused(server, 'SYS/PERM');
    expect(contentOf(server)).toBe('\0\xff garbage\n\n\nFrom nowhere\n');
  });

  test('locked by another program', async () => {
    const server = await serverOf(MAILBOX, { lockTimeout: 100 });
    writeFileSync(join(server.spool, `${USER}.lock`), `${process.ppid}\n`);
    await expectRefused(server, 'IN-USE');
    expect(contentOf(server)).toBe(MAILBOX);
  });

  test('in use by another session', async () => {
    const server = await serverOf(MAILBOX);
    await Pop3Client.loggedIn(server.port, USER, passwordOf(USER));
    await expectRefused(server, 'IN-USE');
  });
});

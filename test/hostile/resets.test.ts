/**
 * C6, C11: a client that is gone in the middle of a reply, after any of its octets: the maildrop is free
 * again, as it was, and the log has nothing but the end of a session.
 */
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { message, messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { passwordOf } from '../support/real-server.js';
import { besiege, count, expectLogged, FULL, MiB, type Target } from './siege.js';

const COMMANDS = ['RETR 1', 'TOP 1 10', 'LIST', 'UIDL', 'CAPA'];
/** Sessions at a time, each on a mailbox of its own. */
const USERS = Array.from({ length: 8 }, (_, n) => `user${n}`);
/** Every so many octets; a prime, so that with five commands all parts of a reply are hit. */
const STRIDE = FULL ? 1 : 23;

const MAILBOX = message('first', '.dots\n..\n'.repeat(100)) + messages(40).join('');

test('a reset after any octet of a multi-line reply', async () => {
  const mailboxes = Object.fromEntries(USERS.map(user => [user, MAILBOX]));
  await besiege({ name: 'resets', mailboxes, mostGrowth: 48 * MiB }, async ({ port, server, note }) => {
    const cuts: [string, number][] = [];
    for (const command of COMMANDS) {
      const length = await lengthOf(port, command);
      expect(length).toBeGreaterThan(100);
      for (let cut = 0; cut <= length; cut += STRIDE) cuts.push([command, cut]);
    }
    note(`${cuts.length} sessions`);
    const before = count(server, / login user=user/g);
    const todo = cuts.values();
    await Promise.all(
      USERS.map(async user => {
        for (const [command, cut] of todo) await resetAfter(port, user, command, cut);
        // Everybody can log in again, and everything is there.
        const client = await again(() => Pop3Client.loggedIn(port, user, passwordOf(user)));
        expect(await client.listing('LIST')).toHaveLength(41);
        await client.ok('QUIT');
        await client.rest();
      }),
    );
    await expectLogged(server, / login user=user/g, before + cuts.length + USERS.length);
    await expectLogged(server, / logout user=user\d+ reason=closed /g, cuts.length);
  });
});

/** Octets of the reply to a command when message 2 is marked, its status line and terminator included. */
async function lengthOf(port: Target['port'], command: string): Promise<number> {
  const client = await Pop3Client.loggedIn(port, USERS[0]!, passwordOf(USERS[0]!));
  await client.ok('DELE 2');
  const before = client.socket.bytesRead;
  await client.multiline(command);
  const length = client.socket.bytesRead - before;
  await client.ok('RSET');
  await client.ok('QUIT');
  await client.rest();
  return length;
}

/** Logs in, marks a message, asks, reads so many octets of the reply and no more, and resets the connection. */
async function resetAfter(port: number, user: string, command: string, octets: number): Promise<void> {
  const login = `USER ${user}\r\nPASS ${passwordOf(user)}\r\nDELE 2\r\n`;
  await again(
    () =>
      new Promise<void>((resolve, reject) => {
        let status = '';
        let left = octets;
        // Reads octet by octet: what was not asked for stays in the kernel.
        const socket = connect({
          ...{ port, host: '127.0.0.1', noDelay: true },
          onread: {
            buffer: Buffer.alloc(1),
            callback: (_, [octet]: Uint8Array) => {
              if (status.split('\n').length <= 4) {
                status += String.fromCharCode(octet!);
                if (/^-ERR/m.test(status) && status.endsWith('\n')) socket.destroy(new Error(status));
                if (status.split('\n').length <= 4) return true;
                socket.write(`${command}\r\n`);
                if (left > 0) return true;
              } else left--;
              if (left > 0) return true;
              socket.resetAndDestroy();
              resolve();
              return false;
            },
          },
        });
        socket.once('error', reject);
        socket.once('connect', () => socket.write(login));
      }),
  );
}

/** The session before may not know yet that its client is gone. */
async function again<T>(run: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await run();
    } catch (error) {
      if (!String(error).includes('[IN-USE]')) throw error;
    }
  }
}

/** C2, C3, C68: clients that send without end, and clients that never read what they asked for. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, TLSSocket } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { messages } from '../support/mailbox.js';
import { passwordOf } from '../support/real-server.js';
import { besiege, expectEnds, FULL, MiB, mega, type Target, unread } from './siege.js';

const COMMANDS = 1_000_000;
const CLIENTS = FULL ? 10 : 2;

const TRANSPORTS = ['plain', 'tls'] as const;
type Transport = (typeof TRANSPORTS)[number];

interface Flooder {
  readonly socket: Socket;
  /** The connection itself, below TLS. */
  readonly tcp: Socket;
  readonly closed: Promise<void>;
}

/** Connected; reads nothing of POP3 unless told to. */
async function flooder(transport: Transport, target: Target): Promise<Flooder> {
  const tcp = connect(transport === 'tls' ? target.tls : target.port, '127.0.0.1');
  const socket = transport === 'tls' ? connectTls({ socket: tcp, rejectUnauthorized: false }) : tcp;
  onTestFinished(() => {
    tcp.destroy();
  });
  // Ended by the server, with or without a reset, while we write.
  for (const each of [socket, tcp]) each.on('error', () => {});
  const closed = new Promise<void>(resolve => tcp.once('close', () => resolve()));
  await once(socket, transport === 'tls' ? 'secureConnect' : 'connect');
  return { socket, tcp, closed };
}

test.each(TRANSPORTS)('100 MB without a newline, %s', async transport => {
  const options = { name: `100 MB line, ${transport}`, mostGrowth: 48 * MiB };
  await besiege({ ...options, good: transport }, async target => {
    for (let n = 0; n < CLIENTS; n++) {
      const { socket, closed } = await flooder(transport, target);
      let received = '';
      socket.setEncoding('latin1').on('data', text => {
        received += text;
      });
      // A reset takes with it what was not read yet, be it the greeting.
      await once(socket, 'data');
      const chunk = Buffer.alloc(64 * 1024, 'A');
      let sent = 0;
      let over = false;
      void closed.then(() => {
        over = true;
      });
      for (; sent < 100 * MiB && !over; sent += chunk.length) {
        if (!socket.write(chunk)) await Promise.race([drained(socket), closed]);
      }
      await closed;
      expect(sent).toBeLessThan(100 * MiB);
      expect(received).toMatch(/^\+OK [^\n]+\n(-ERR command line too long\r\n)?$/);
    }
  });
});

test.each(TRANSPORTS)('a million commands in one go before login, and nobody reads, %s', async transport => {
  // Time enough to see that no more is read, on a busy host, too.
  const flags = ['--login-timeout', FULL ? '40' : '20'];
  const options = { name: `unread before login, ${transport}`, flags, mostGrowth: 48 * MiB };
  await besiege({ ...options, good: transport }, async target => {
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => flooder(transport, target)));
    for (const { socket } of clients) {
      // A record of 16 KiB, before the login, would end the connection.
      if (socket instanceof TLSSocket) socket.setMaxSendFragment(4096);
      socket.pause().write('CAPA\r\n'.repeat(COMMANDS));
    }
    await stillUnread(transport, target, clients);
    await expectEnds(target.server, 'no-login', 'login-timeout', CLIENTS);
    await expectCut(clients);
  });
});

test.each(TRANSPORTS)('a million commands in one go after login, and nobody reads, %s', async transport => {
  const flooded = Array.from({ length: CLIENTS }, (_, n) => `flood${n}`);
  const mailboxes = Object.fromEntries(flooded.map(user => [user, messages(100).join('')]));
  // The least idle time is ten minutes (RFC 1939 §3); in less, a new login of the user ends the session.
  const flags = FULL ? [] : ['--takeover', '3'];
  const options = { name: `unread after login, ${transport}`, flags, mailboxes, mostGrowth: 64 * MiB };
  await besiege({ ...options, good: transport }, async target => {
    const clients = await Promise.all(flooded.map(() => flooder(transport, target)));
    for (const [n, { socket }] of clients.entries()) {
      socket.pause().write(`USER ${flooded[n]}\r\nPASS ${passwordOf(flooded[n]!)}\r\n`);
      socket.write('UIDL\r\n'.repeat(COMMANDS));
    }
    for (const user of flooded) await target.server.logged(new RegExp(` login user=${user} `));
    await stillUnread(transport, target, clients);
    if (!FULL) for (const user of flooded) await logIn(target, user);
    const reason = FULL ? 'idle' : 'taken-over';
    for (const user of flooded) {
      await target.server.logged(new RegExp(` logout user=${user} reason=${reason} `));
    }
    // Not before: who reads is not silent.
    await expectCut(clients);
  });
});

function drained(socket: Socket): Promise<void> {
  return new Promise(resolve => socket.once('drain', () => resolve()));
}

/** Until the server reads no more of any of them: what lies in the kernel stays there. */
async function stillUnread(transport: Transport, target: Target, clients: readonly Flooder[]): Promise<void> {
  const port = transport === 'tls' ? target.tls : target.port;
  const left = () => clients.map(({ tcp }) => unread(port, tcp.localPort!));
  let now = left();
  for (let before: readonly number[] = []; now.join() !== before.join() || now.includes(0); ) {
    before = now;
    await new Promise(resolve => setTimeout(resolve, 500));
    now = left();
  }
  const octets = now.reduce((sum, one) => sum + one, 0);
  target.note(
    `${mega(octets)} MiB of ${clients.length} clients unread, memory ${mega(target.growth())} MiB more`,
  );
}

/** The server ends them; who does not read learns of it by a reset when the rest is written. */
async function expectCut(clients: readonly Flooder[]): Promise<void> {
  for (const { socket, closed } of clients) {
    socket.resume();
    await closed;
  }
}

/** Again and again, until the session before is silent for long enough. */
async function logIn({ port }: Target, user: string): Promise<void> {
  for (let reply = ''; !reply.startsWith('+OK maildrop has'); ) {
    const socket = connect(port, '127.0.0.1');
    socket.end(`USER ${user}\r\nPASS ${passwordOf(user)}\r\nQUIT\r\n`);
    let received = '';
    socket.setEncoding('latin1').on('data', text => {
      received += text;
    });
    await once(socket, 'close');
    reply = received.split('\r\n')[2] ?? '';
    expect(reply).toMatch(/^(\+OK maildrop has|-ERR \[IN-USE\])/);
  }
}

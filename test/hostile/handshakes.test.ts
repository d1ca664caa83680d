/**
 * C62, C64: whatever stands in the place of a handshake, on the port with TLS from the first octet and after
 * STLS: it ends the connection, at once or after its time, and nothing else. Other protocols get no word of
 * theirs back.
 */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { clientHello, record } from './client-hello.js';
import { handshakeUpTo } from './gate.js';
import { Raw, type Where } from './raw.js';
import { besiege, expectEnds, FULL, MiB, type Target } from './siege.js';

const HANDSHAKE_TIMEOUT = '3';
const PLACES: readonly Where[] = ['tls', 'stls'];
const ROUNDS = FULL ? 50 : 3;

const hello = clientHello();
const MARK = 'Zm9vYmFy-mark';
const HTTP = `GET /${MARK} HTTP/1.1\r\nHost: ${MARK}\r\nCookie: ${MARK}\r\nX: ${MARK}\r\n\r\n${MARK}\r\n`;

/** None of these is ever a handshake, however long one waits for more. */
const GARBAGE: Readonly<Record<string, () => Buffer>> = {
  'random octets': () => Buffer.concat([Buffer.of(0xff), randomBytes(500)]),
  'POP3 in the clear': () => Buffer.from(`USER ${MARK}\r\nPASS ${MARK}\r\nSTAT\r\n`),
  HTTP: () => Buffer.from(HTTP),
  'SSL 2.0': () => Buffer.concat([Buffer.of(0x80, 46, 1, 0, 2, 0, 21, 0, 0, 0, 16), randomBytes(37)]),
  'SSL 3.0': () => clientHello({ version: 0x0300 }),
  'TLS 1.0': () => clientHello({ version: 0x0301 }),
  'TLS 1.1': () => clientHello({ version: 0x0302 }),
  'an empty record': () => record(22, Buffer.alloc(0)),
  'a record of 65535 octets': () => record(22, Buffer.alloc(65535, 1)),
  'an unknown type of record': () => record(99, randomBytes(40)),
  'an alert': () => record(21, Buffer.of(2, 40)),
  'application data first': () => record(23, randomBytes(100)),
  'change_cipher_spec first, again and again': () => Buffer.alloc(6000, record(20, Buffer.of(1))),
  'a ClientHello without cipher suites': () => damaged(76, 0, 0),
  'a ClientHello whose suites are longer than itself': () => damaged(76, 0xff, 0xfe),
  'a ClientHello whose session is longer than it may be': () => damaged(43, 255),
  'a ClientHello that says it has 16 MiB': () => damaged(6, 0xff, 0xff, 0xff),
  'a ServerHello': () => damaged(5, 2),
  'two ClientHellos': () => Buffer.concat([hello, clientHello()]),
  'a ClientHello and garbage': () => Buffer.concat([hello, Buffer.alloc(6000, 0xee)]),
};

/** The ClientHello with other octets at some place. */
function damaged(at: number, ...octets: number[]): Buffer {
  const copy = Buffer.from(hello);
  copy.set(octets, at);
  return copy;
}

test('garbage where a handshake should be', async () => {
  const flags = ['--handshake-timeout', HANDSHAKE_TIMEOUT];
  await besiege({ name: 'TLS garbage', flags, mostGrowth: 48 * MiB }, async target => {
    const kinds = Object.entries(GARBAGE).flatMap(([name, make]) =>
      PLACES.flatMap(where => Array.from({ length: ROUNDS }, () => ({ name, make, where }))),
    );
    await Promise.all(
      kinds.map(async ({ name, make, where }, n) => {
        const raw = await Raw.to(where, target, addressOf(n));
        raw.send(make());
        await raw.closed;
        // Of a handshake there may be an alert, or the server's part of one; never a word of POP3.
        expect(raw.received, `${where}: ${name}`).not.toMatch(/\+OK|-ERR|mark/);
      }),
    );
    await expectEnds(target.server, 'tls-failed', '', kinds.length);
    target.note(reasons(target));
  });
});

test.each(['TLSv1.2', 'TLSv1.3'] as const)(
  '%s: a handshake that stops after any octet is ended in its time',
  async version => {
    const flags = ['--handshake-timeout', HANDSHAKE_TIMEOUT];
    await besiege({ name: `stalls, ${version}`, flags, mostGrowth: 128 * MiB }, async target => {
      const whole = await handshakeUpTo(await Raw.to('tls', target), Number.POSITIVE_INFINITY, version);
      expect(whole).toBeGreaterThan(300);
      // Its last octets are all that is missing: never a handshake. Signatures vary by some octets.
      const stops: number[] = [];
      for (let stop = 0; stop < whole - 8; stop += FULL ? 1 : 13) stops.push(stop);
      let n = 0;
      const stalled: Promise<unknown>[] = [];
      for (const where of PLACES) {
        for (const stop of stops) {
          const raw = await Raw.to(where, target, addressOf(n++));
          await handshakeUpTo(raw, stop, version);
          stalled.push(raw.closed);
        }
      }
      await Promise.all(stalled);
      await expectEnds(target.server, 'tls-failed', 'timeout', stalled.length);
      target.note(`${stalled.length} handshakes of ${whole} octets`);
    });
  },
);

test('HTTP on either port, in the clear and under TLS: closed, and nothing of it comes back', async () => {
  await besiege({ name: 'HTTP', mostGrowth: 32 * MiB }, async target => {
    for (const where of ['plain', 'tls', 'stls'] as const) {
      const raw = await Raw.to(where, target);
      raw.send(`${HTTP}${HTTP}`);
      await raw.closed;
      expect(raw.received).not.toContain(MARK);
      expect(raw.received).not.toContain('+OK');
      if (where === 'plain') expect(raw.received).toMatch(/^(-ERR [^\r\n]*\r\n)+$/);
    }
  });
});

/** So that no address has more connections than it may. */
function addressOf(n: number): string {
  return `127.8.${n >> 13}.${(n >> 5) & 255 || 255}`;
}

function reasons({ server }: Target): string {
  const found = server.stderr().matchAll(/ tls-failed reason=("[^"]*"|\S*)/g);
  return [...new Set([...found].map(match => match[1]))].join(', ');
}

/**
 * C63: names of hosts that nobody has (SNI, RFC 6066 §3), sound and unsound: no name is remembered, none
 * makes us throw, and the certificate for the right name is still given.
 */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { shownBy, tlsConnect } from '../support/tls/certificates.js';
import { clientHello } from './client-hello.js';
import { Raw } from './raw.js';
import { besiege, FULL, MiB, mega, type Target } from './siege.js';

const NAMES = Number(process.env.NAMES ?? (FULL ? 100_000 : 1000));
const AT_ONCE = 20;

/** Names that a library would not send. */
const ODD: readonly Buffer[] = [
  Buffer.alloc(0),
  Buffer.alloc(255, 'a'),
  Buffer.alloc(256, 'a'),
  Buffer.alloc(12_000, 'a.'),
  Buffer.from('ec.example\0.org', 'latin1'),
  Buffer.of(0),
  Buffer.from('m\xe4il.ex\xe4mple.org', 'latin1'),
  Buffer.from('mäil.exämple.org', 'utf8'),
  Buffer.alloc(200, 0xff),
  Buffer.from('127.0.0.1'),
  Buffer.from('__proto__'),
  Buffer.from('constructor'),
  Buffer.from('*.example.org'),
  Buffer.from('....'),
  Buffer.from(' \r\n-ERR'),
];

test('names that nobody has', async () => {
  const growth: number[] = [];
  await besiege({ name: `${NAMES} random names`, good: 'tls', mostGrowth: 128 * MiB }, async target => {
    for (let tenth = 1; tenth <= 10; tenth++) {
      await offer(target, NAMES / 10);
      growth.push(target.growth());
    }
    target.note(`MiB more after each tenth: ${growth.map(mega).join(' ')}`);
    // A few hundred octets kept for each name would be more.
    if (FULL) expect(growth[9]! - growth[4]!).toBeLessThan(24 * MiB);
    const socket = await tlsConnect({ port: target.tls }, { servername: 'no.such.host.example' });
    expect(shownBy(socket)).toBe('ec');
    socket.destroy();
  });
});

/** So many handshakes, each for another name, as far as the server's answer. */
async function offer(target: Target, count: number): Promise<void> {
  let left = count;
  const lane = async (n: number) => {
    while (left-- > 0) {
      const odd = left % 10 === 0 ? ODD[(left / 10) % ODD.length]! : undefined;
      await greet(target, odd ?? randomName(), `127.7.0.${n + 1}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => lane(n)));
}

function randomName(): Buffer {
  return Buffer.from(`${randomBytes(12).toString('hex')}.${randomBytes(4).toString('hex')}.example`);
}

async function greet(target: Target, name: Buffer, from: string): Promise<void> {
  const raw = await Raw.to('tls', target, from);
  raw.send(clientHello({ name }));
  // A ServerHello, or an alert.
  await raw.until(() => raw.received !== '');
  expect(raw.received).toMatch(/^(?:[\x15\x16]|$)/);
  raw.socket.resetAndDestroy();
  await raw.closed;
}

/** C51 (CVE-2017-15132): exchanges that are broken off leave nothing behind, however many there are. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { createServer } from '../../lib/index.js';
import { Pop3Client } from '../support/pop3-client.js';

const MiB = 1 << 20;
const EXCHANGES = 100_000;
/** Each connection breaks off so many. */
const PER_CONNECTION = 500;

const base64 = (text: string) => Buffer.from(text).toString('base64');

/** Begun, and ended by the client, by garbage, or by the end of the connection. CAPA lets it go on for long. */
const BEGINNINGS = [
  'PLAIN',
  'LOGIN',
  'CRAM-MD5',
  `SCRAM-SHA-256 ${base64('n,,n=bob,r=x')}`,
  `LOGIN ${base64('bob')}`,
];
const ENDINGS = ['*', '====', 'QUI', '*'];

/** One connection's worth, the last without an end. */
async function breakOff(port: number): Promise<void> {
  // Not a Pop3Client: the test would keep those, and what they have received, to its end.
  const socket = connect({ port, host: '127.0.0.1' });
  let script = '';
  for (let n = 1; n < PER_CONNECTION; n++) {
    script += `AUTH ${BEGINNINGS[n % 5]}\r\n${ENDINGS[n % 4]}\r\n${n % 5 === 0 ? 'CAPA\r\n' : ''}`;
  }
  socket.write(`${script}AUTH ${BEGINNINGS[0]}\r\nCUT`);
  let at = 0;
  socket.on('data', (chunk: Buffer) => {
    at += chunk.length;
  });
  socket.end();
  await once(socket, 'close');
  expect(at).toBeGreaterThan(PER_CONNECTION * 10);
}

/** Octets in use by the server, and by the client beside it in this process, after a collection of garbage. */
async function held(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  // Twice: what the first finds unused of sockets is given back in the turns after it.
  collect();
  await setTimeout(100);
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test('C51: 10^5 aborted exchanges: memory flat, and the next client is served', async () => {
  await using server = await createServer({ users: { bob: 'sesame' } });
  const round = async (exchanges: number) => {
    for (let n = 0; n < exchanges; n += PER_CONNECTION) await breakOff(server.port);
    return held();
  };
  // What is compiled and cached at first is not growth.
  const before = await round(EXCHANGES / 5);
  const after = await round(EXCHANGES);
  process.stderr.write(`held: ${(before / MiB).toFixed(1)} MiB, then ${(after / MiB).toFixed(1)} MiB\n`);
  // Eleven octets an exchange.
  expect(after - before).toBeLessThan(MiB);
  const client = await Pop3Client.loggedIn(server.port, 'bob', 'sesame');
  await client.ok('QUIT');
});

/** AUTH by real processes over real sockets: one for each connection, as inetd starts them. */
import { chmodSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { selfCheck } from '../../lib/cli/self-check.js';
import { settingsFrom } from '../../lib/config.js';
import { message } from '../support/mailbox.js';
import { Nowait } from '../support/nowait.js';
import { Pop3Client } from '../support/pop3-client.js';
import { IS_ROOT } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { ScramClient } from '../support/scram-client.js';
import { servePlaces } from '../support/serving.js';

const PROGRAM = new URL('../../dist/bin/mbox-pop3d.js', import.meta.url).pathname;
const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64');

async function challengeFor(port: number, client: ScramClient): Promise<{ pop: Pop3Client; first: string }> {
  const pop = await Pop3Client.greeted(port);
  const reply = await pop.ask(`AUTH ${client.method} ${base64(client.first)}`);
  return { pop, first: Buffer.from(reply.slice('+ '.length), 'base64').toString('latin1') };
}

test('a process for each connection: the same salts in all, the same capabilities after root is given up', async () => {
  const places = servePlaces({ alice: message('hello') });
  // The mailbox is found by a process that has become its owner.
  chmodSync(places.root, 0o755);
  const { spool, users, state } = places;
  const door = await Nowait.start([
    ...[process.execPath, PROGRAM, '--spool', spool, '--users', users, '--state-dir', state],
    ...['--failure-delay', '0'],
  ]);
  const saltOf = async (user: string) => {
    const { pop, first } = await challengeFor(door.port, new ScramClient('sha256', user, 'x'));
    expect(await pop.ask('*')).toBe('-ERR authentication cancelled');
    await pop.ok('QUIT');
    return /,s=([^,]+),i=4096$/.exec(first)?.[1];
  };
  const [known, unknown] = [await saltOf('alice'), await saltOf('mallory')];
  expect(known).toHaveLength(unknown!.length);
  expect(await saltOf('alice')).toBe(known);
  expect(await saltOf('mallory')).toBe(unknown);
  const key = statSync(join(state, '.salt-key'));
  expect([key.mode & 0o777, key.uid, key.size]).toEqual([0o600, process.geteuid!(), 32]);

  const client = new ScramClient('sha256', 'alice', passwordOf('alice'));
  const { pop, first } = await challengeFor(door.port, client);
  expect(await pop.ask(base64(client.final(first)))).toBe(`+ ${base64(`v=${client.expected}`)}`);
  expect(await pop.ask('')).toMatch(/^\+OK maildrop has 1 message /);
  const expected = 'SASL SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN';
  expect(await pop.listing('CAPA')).toContain(expected);
  await pop.ok('QUIT');
  expect(await door.exits()).toEqual(door.children.map(() => 0));
}, 20_000);

test.each([
  [['*:110'], 'always', ['*:110']],
  [['127.0.0.1:110', '192.0.2.1:110'], 'always', ['192.0.2.1:110']],
  [['127.0.0.1:110', '[::1]:110', 'localhost:110'], 'always', []],
  [['*:110'], 'local', []],
  [['*:110'], 'tls', []],
])('the check at start: passwords unencrypted on %j with --plaintext %s', (listen, plaintext, named) => {
  const { spool, users, state } = servePlaces({});
  const settings = settingsFrom({ listen, plaintext, spool, users, 'state-dir': state });
  const found = selfCheck(settings).filter(({ trouble }) => trouble.includes('unencrypted'));
  expect(found.map(({ trouble }) => /to (\S+), /.exec(trouble)?.[1])).toEqual(named);
});

if (!IS_ROOT) console.warn('sasl.test.ts: as an ordinary user no root is given up');

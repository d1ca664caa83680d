/**
 * C4: every transcript against the daemon, over TCP and over TLS: one octet a write, and cut in two
 * everywhere. The answers are the same.
 */
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { SAMPLE } from '../support/memory-maildrop.js';
import type { Running } from '../support/program.js';
import { type ServePlaces, servePlaces, serving } from '../support/serving.js';
import { filesOf, tlsConnect } from '../support/tls/certificates.js';
import { type Cutting, octetsSent, playTranscript, readTranscript } from '../support/transcript.js';
import { descriptors, expectInnocent, FULL } from './siege.js';

/** Octets between two cuts; a prime, so that they fall everywhere in a command. */
const STEP = FULL ? 1 : 61;

/** In ms: time for the server to read what came before the cut. */
const PAUSE = 1;

const folder = new URL('../transcripts/', import.meta.url).pathname;
const transcripts = readdirSync(folder)
  .filter(name => name.endsWith('.txt'))
  .map(name => ({ name, transcript: readTranscript(folder + name) }));

/** The wire form as a delivery agent stores it. */
function mailboxOf(messages: readonly string[]): string {
  const from = 'From sender@example.org Tue Nov 23 09:00:00 1993\n';
  return messages.map(message => `${from}${message.replaceAll('\r\n', '\n')}\n`).join('');
}

const MAILBOXES = Object.fromEntries([...SAMPLE].map(([user, { messages }]) => [user, mailboxOf(messages)]));

interface Server {
  readonly server: Running;
  readonly places: ServePlaces;
  readonly connect: () => Promise<Duplex>;
}

async function start(settings: ReadonlySet<string>, tls: boolean): Promise<Server> {
  const places = servePlaces(MAILBOXES);
  const lines = [...SAMPLE].map(([user, { password }]) => `${user}:{PLAIN}${password}\n`);
  writeFileSync(places.users, lines.join(''));
  const flags = [...settings].map(setting => `--${setting}`);
  const { cert, key } = filesOf('ec');
  // Where there is a certificate, the port without TLS has STLS, which the transcripts do not know.
  if (tls) flags.push('--tls-listen', '127.0.0.1:0', '--tls-cert', cert, '--tls-key', key);
  const { server, port } = await serving(places, [
    ...flags,
    ...['--failure-delay', '0', '--max-failure-delay', '0', '--log-level', 'warn'],
  ]);
  if (tls) {
    const [tlsPort] = await server.tlsPorts();
    return { server, places, connect: () => tlsConnect({ port: tlsPort! }) };
  }
  const open = async () => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    onTestFinished(() => {
      socket.destroy();
    });
    await once(socket, 'connect');
    return socket;
  };
  return { server, places, connect: open };
}

describe.each(['plain', 'TLS'])('%s', how => {
  test.each(transcripts)('$name', async ({ transcript }) => {
    const { server, places, connect: open } = await start(transcript.settings, how === 'TLS');
    const play = async (cutting: Cutting) => {
      // As the sessions before may have left them, but for the octets.
      for (const [user, content] of Object.entries(MAILBOXES)) {
        writeFileSync(places.mailbox(user), content, 'latin1');
      }
      await playTranscript(open, transcript, cutting, PAUSE);
    };
    await play('commands');
    const before = descriptors(server);
    await play('bytes');
    for (let cut = 1; cut < octetsSent(transcript); cut += STEP) await play(cut);
    while (descriptors(server) > before) await new Promise(resolve => setTimeout(resolve, 5));
    await play('whole');
    expectInnocent(server);
    expect(await server.stop()).toBe(0);
    expect(readdirSync(places.spool).sort()).toEqual(Object.keys(MAILBOXES).sort());
  });
});

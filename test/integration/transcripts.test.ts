/**
 * Every transcript over TCP, against mailbox files: the same files and the same answers as over a
 * connection in memory (C4). Every cutting of them is played in memory; here are the extremes and a few.
 */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SAMPLE } from '../support/memory-maildrop.js';
import { Pop3Client } from '../support/pop3-client.js';
import { makePlaces, startReal } from '../support/real-server.js';
import { type Cutting, octetsSent, playTranscript, readTranscript } from '../support/transcript.js';

/** A prime, so that the cuts fall everywhere in a command; in octets. */
const STEP = 41;

const folder = new URL('../transcripts/', import.meta.url).pathname;
const transcripts = readdirSync(folder)
  .filter(name => name.endsWith('.txt'))
  .map(name => ({ name, transcript: readTranscript(folder + name) }));

const users = Object.fromEntries([...SAMPLE].map(([user, { password }]) => [user, password]));

/** The wire form as a delivery agent stores it. */
function mailboxOf(messages: readonly string[]): string {
  const from = 'From sender@example.org Tue Nov 23 09:00:00 1993\n';
  return messages.map(message => `${from}${message.replaceAll('\r\n', '\n')}\n`).join('');
}

describe.each(transcripts)('$name', ({ transcript }) => {
  async function play(...cuttings: Cutting[]): Promise<void> {
    const places = makePlaces();
    const { settings } = transcript;
    const server = await startReal(places, users, {
      apop: settings.has('apop'),
      last: settings.has('last'),
    });
    for (const cutting of cuttings) {
      for (const [user, { messages }] of SAMPLE) {
        writeFileSync(join(places.spool, user), mailboxOf(messages), 'latin1');
      }
      const connect = async () => (await Pop3Client.connect(server.port, { reading: false })).socket;
      await playTranscript(connect, transcript, cutting);
    }
    await server.close();
    expect(server.logged.filter(line => line.startsWith('error'))).toEqual([]);
    // No dotlock, no temporary file.
    expect(readdirSync(places.spool).sort()).toEqual([...SAMPLE.keys()].sort());
  }

  test('one command at a time', () => play('commands'));
  test('all in one write', () => play('whole'));
  test('C4: one octet a write', () => play('bytes'));
  test('C4: cut in two, here and there', () => {
    const cuts: number[] = [];
    for (let cut = 1; cut < octetsSent(transcript); cut += STEP) cuts.push(cut);
    return play(...cuts);
  });
});

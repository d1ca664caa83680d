/** Every transcript over a connection in memory, in every cutting: the same answers (C4). */
import { readdirSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { serve } from '../../lib/server/session.js';
import { duplexPair } from '../support/duplex-pair.js';
import { MemoryWorld, SAMPLE } from '../support/memory-maildrop.js';
import { type Cutting, octetsSent, playTranscript, readTranscript } from '../support/transcript.js';

const folder = new URL('../transcripts/', import.meta.url).pathname;
const transcripts = readdirSync(folder)
  .filter(name => name.endsWith('.txt'))
  .map(name => ({ name, transcript: readTranscript(folder + name) }));

test('the sample messages have the sizes of RFC 1939 §10', () => {
  expect(SAMPLE.get('mrose')?.messages.map(message => message.length)).toEqual([120, 200]);
});

describe.each(transcripts)('$name', ({ transcript }) => {
  async function play(cutting: Cutting): Promise<void> {
    const { settings } = transcript;
    const world = new MemoryWorld({ apop: settings.has('apop'), last: settings.has('last') });
    const sessions: Promise<void>[] = [];
    const connect = async (): Promise<Duplex> => {
      // The session before must be over: its UPDATE is what the next one sees.
      await Promise.all(sessions);
      const [client, server] = duplexPair();
      sessions.push(serve(server, { address: '192.0.2.1', port: 1 }, world.services));
      return client;
    };
    await playTranscript(connect, transcript, cutting);
    await Promise.all(sessions);
    expect(world.logged.filter(line => line.startsWith('error'))).toEqual([]);
    for (const maildrop of world.maildrops) expect(maildrop.calls.release).toBe(1);
  }

  test('one command at a time', () => play('commands'));
  test('all in one write', () => play('whole'));
  test('C4: one octet a write', () => play('bytes'));
  test('C4: every way to cut it in two', async () => {
    for (let cut = 1; cut < octetsSent(transcript); cut++) await play(cut);
  });
});

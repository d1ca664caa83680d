/**
 * Mailboxes of other projects, where they are at hand (../shared/corpus beside the repository), through
 * the real server: LIST against the octets RETR sends, for every message, and what RETR sends against
 * the file. How they are counted is the concern of test/unit/mbox-corpus.test.ts.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { oracle } from '../support/oracle.js';
import { Pop3Client } from '../support/pop3-client.js';
import { makePlaces, passwordOf, startReal, usersNamed } from '../support/real-server.js';

const corpus = new URL('../../../shared/corpus/', import.meta.url);
const here = existsSync(corpus);
if (!here) console.warn(`\n*** SKIPPED: no corpus of mailboxes at ${corpus.pathname} ***\n`);

const NOT_MAILBOXES = /^(MANIFEST|README)|\.json$/;
const USER = 'corpus';

describe.skipIf(!here)('the corpus, served', () => {
  const files = here ? readdirSync(corpus).filter(name => !NOT_MAILBOXES.test(name)) : [];

  test.each(files)('%s', async name => {
    const file = readFileSync(new URL(name, corpus));
    const places = makePlaces({ [USER]: file });
    const { port } = await startReal(places, usersNamed(USER));
    const client = await Pop3Client.greeted(port);
    await client.ok(`USER ${USER}`);
    const reply = await client.ask(`PASS ${passwordOf(USER)}`);
    const expected = oracle(file);
    if ('refused' in expected) {
      expect(reply).toMatch(/^-ERR \[SYS\/PERM\] /);
      return;
    }
    const { messages } = expected;
    const total = messages.reduce((sum, { octets }) => sum + octets, 0);
    expect(reply).toBe(`+OK maildrop has ${counted(messages.length)} (${total} octets)`);
    const listed = await client.listing('LIST');
    expect(listed).toEqual(messages.map(({ octets }, i) => `${i + 1} ${octets}`));

    const wrong: number[] = [];
    // All at once: pipelining of this depth is part of what is tested.
    client.send(messages.map((_, i) => `RETR ${i + 1}\r\n`).join(''));
    for (const [i, { wire }] of messages.entries()) {
      const { content } = await client.nextMultiline();
      const octets = Number(listed[i]!.split(' ')[1]);
      if (content.length !== octets || content.toString('latin1') !== wire) wrong.push(i + 1);
    }
    expect(wrong).toEqual([]);

    const ids = (await client.listing('UIDL')).map(line => line.split(' ')[1]!);
    expect(new Set(ids).size).toBe(messages.length);
    await client.ok('QUIT');
    expect(readFileSync(`${places.spool}/${USER}`).equals(file)).toBe(true);
  });
});

function counted(messages: number): string {
  return `${messages} message${messages === 1 ? '' : 's'}`;
}

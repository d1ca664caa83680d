/**
 * P6 and C19 through the real server: a unique-id stays while its message does, whatever happens around
 * it, and over restarts. A client that sees a new id downloads again; one that misses an id loses mail.
 */
import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { message } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { makePlaces, type Places, passwordOf, startReal, usersNamed } from '../support/real-server.js';

const USER = 'alice';

/** A session of its own, on a server of its own, over the same files: every call is a restart. */
async function session<T>(places: Places, what: (client: Pop3Client) => Promise<T>): Promise<T> {
  const server = await startReal(places, usersNamed(USER));
  const client = await Pop3Client.loggedIn(server.port, USER, passwordOf(USER));
  const result = await what(client);
  await client.ok('QUIT');
  await server.close();
  return result;
}

const uniqueIds = (places: Places) =>
  session(places, async client =>
    (await client.listing('UIDL')).map((line, i) => {
      const [n, id, ...more] = line.split(' ');
      expect([n, more]).toEqual([`${i + 1}`, []]);
      expect(id).toMatch(/^[\x21-\x7e]{1,70}$/);
      return id!;
    }),
  );

const remove = (places: Places, ...numbers: number[]) =>
  session(places, async client => {
    for (const n of numbers) await client.ok(`DELE ${n}`);
  });

test('C19: identical messages have ids of their own, which stay when neighbours go', async () => {
  const same = message('same');
  const other = message('other');
  const places = makePlaces({ [USER]: same + other + same + same + same });
  const ids = await uniqueIds(places);
  expect(new Set(ids).size).toBe(5);
  expect(await uniqueIds(places)).toEqual(ids);

  await remove(places, 3);
  let left = ids.filter((_, i) => i !== 2);
  expect(await uniqueIds(places)).toEqual(left);
  await remove(places, 1);
  left = left.slice(1);
  expect(await uniqueIds(places)).toEqual(left);
  // One more of the same kind has an id that no message had before.
  appendFileSync(join(places.spool, USER), same);
  const after = await uniqueIds(places);
  expect(after.slice(0, 3)).toEqual(left);
  expect(ids).not.toContain(after[3]);
  await remove(places, 1, 2);
  expect(await uniqueIds(places)).toEqual(after.slice(2));
});

test('P6: new mail changes no id', async () => {
  const places = makePlaces({ [USER]: message(1) + message(2) });
  const ids = await uniqueIds(places);
  appendFileSync(join(places.spool, USER), message(3));
  expect((await uniqueIds(places)).slice(0, 2)).toEqual(ids);
});

test.each([
  ['Status and X-Status', 'Status: RO\nX-Status: AF\n'],
  ['Lines and Content-Length', 'Lines: 1\nContent-Length: 19\n'],
  ['what IMAP servers add', 'X-UID: 17\nX-Keywords: $Label1 NonJunk\n\t $Forwarded\nX-IMAPbase: 1 2\n'],
  ['what Mozilla adds', 'X-Mozilla-Status: 0001\nX-Mozilla-Status2: 00000000\nX-Mozilla-Keys: \n'],
])('P6: a mail reader writes %s: the ids stay, and changing it again changes nothing', async (_, fields) => {
  const plain = [message(1), message(2), message(3)];
  const places = makePlaces({ [USER]: plain.join('') });
  const path = join(places.spool, USER);
  const ids = await uniqueIds(places);
  const mark = (text: string, by: string) => text.replace('\n\n', `\n${by}\n`);
  for (const by of [fields, fields.replaceAll('1', '234').replaceAll('RO', 'O'), '']) {
    writeFileSync(path, [mark(plain[0]!, by), plain[1]!, mark(plain[2]!, by)].join(''));
    expect(await uniqueIds(places)).toEqual(ids);
  }
});

test('P6: a mail reader that rewrites the file beside a session is not undone', async () => {
  const places = makePlaces({ [USER]: message(1) + message(2) + message(3) });
  const path = join(places.spool, USER);
  const server = await startReal(places, usersNamed(USER), { lockYield: 0 });
  const client = await Pop3Client.loggedIn(server.port, USER, passwordOf(USER));
  await client.ok('DELE 1');
  const { ino } = statSync(path);
  const rewritten = message(1) + message(2).replace('\n\n', '\nStatus: RO\n\n') + message(3);
  writeFileSync(path, rewritten);
  // Same messages, other bytes: whatever is said, all or nothing of it is done.
  const reply = await client.ask('QUIT');
  const after = readFileSync(path, 'latin1');
  expect(statSync(path).ino).toBe(ino);
  if (reply.startsWith('+OK')) expect(after).toBe(rewritten.slice(message(1).length));
  else {
    expect(reply).toMatch(/^-ERR \[SYS\/TEMP\] /);
    expect(after).toBe(rewritten);
  }
});

/**
 * C21: a mailbox of more than 4 GiB, sparse on disk, with messages across 2^31 and 2^32: octets, RETR,
 * UPDATE right, in bounded memory.
 */
import { closeSync, ftruncateSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { expect, test } from 'vitest';
import { message } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import type { Running } from '../support/program.js';
import { passwordOf } from '../support/real-server.js';
import { SERVED_BY, type ServePlaces, servePlaces, serving } from '../support/serving.js';

const MiB = 1 << 20;
const MOST_MEMORY = 200 * MiB;
const USER = 'alice';

/** One message and where it is; `text` without the hole in the middle of a huge one. */
interface Placed {
  readonly start: number;
  readonly size: number;
  readonly octets: number;
  /** The whole text, of a small one. */
  readonly text?: string;
}

/** Octets that RETR sends of a text with LF line ends: without the From_ line and the empty line at its end. */
const octetsOf = (text: string) => wireOf(text).length;
const wireOf = (text: string) => text.replace(/^.*\n/, '').slice(0, -1).replaceAll('\n', '\r\n');

/** Small and huge messages, so that a small one lies across 2^31 and another across 2^32. */
function fill(path: string): Placed[] {
  const placed: Placed[] = [];
  const fd = openSync(path, 'w');
  let at = 0;
  const small = (name: string) => {
    const text = message(name);
    writeSync(fd, text, at);
    placed.push({ start: at, size: text.length, octets: octetsOf(text), text });
    at += text.length;
  };
  /** A line of zeros, as long as it takes. */
  const hugeUpTo = (end: number) => {
    const head = message('huge', '');
    const tail = '\n\n';
    const size = end - at;
    writeSync(fd, head.slice(0, -1), at);
    writeSync(fd, tail, end - tail.length);
    const hole = size - (head.length - 1) - tail.length;
    placed.push({ start: at, size, octets: octetsOf(`${head.slice(0, -1)}${tail}`) + hole });
    at = end;
  };
  small('first');
  hugeUpTo(2 ** 31 - 60);
  small('across-31');
  small('after-31');
  hugeUpTo(2 ** 32 - 1);
  small('across-32');
  small('after-32');
  small('last');
  ftruncateSync(fd, at);
  closeSync(fd);
  return placed;
}

function readAt(path: string, start: number, size: number): string {
  const fd = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(size);
    return buffer.toString('latin1', 0, readSync(fd, buffer, 0, size, start));
  } finally {
    closeSync(fd);
  }
}

/** Everything about the messages that are there, in a session that then deletes some. */
async function session(
  port: number,
  placed: readonly Placed[],
  remove: readonly number[],
): Promise<string[]> {
  const client = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
  const total = placed.reduce((sum, { octets }) => sum + octets, 0);
  expect(await client.ok('STAT')).toBe(`+OK ${placed.length} ${total}`);
  expect(await client.listing('LIST')).toEqual(placed.map(({ octets }, i) => `${i + 1} ${octets}`));
  for (const [i, { text }] of placed.entries()) {
    const { content } = await client.multiline(text === undefined ? `TOP ${i + 1} 0` : `RETR ${i + 1}`);
    const expected = wireOf(text ?? message('huge', ''));
    expect(content.toString('latin1')).toBe(expected);
  }
  const ids = (await client.listing('UIDL')).map(line => line.split(' ')[1]!);
  expect(new Set(ids).size).toBe(placed.length);
  for (const n of remove) await client.ok(`DELE ${n}`);
  await client.ok('QUIT');
  await client.rest();
  return ids;
}

/** What must be in the file when the messages follow each other; of huge ones, only where they begin. */
function expectFile({ mailbox }: ServePlaces, placed: readonly Placed[]): void {
  let at = 0;
  for (const { text, size } of placed) {
    if (text !== undefined) expect(readAt(mailbox(USER), at, size)).toBe(text);
    else expect(readAt(mailbox(USER), at, 12)).toBe('From senderh');
    at += size;
  }
  expect(statSync(mailbox(USER)).size).toBe(at);
}

function expectSmall(server: Running): void {
  expect(server.memory('VmHWM')).toBeLessThan(MOST_MEMORY);
}

test('C21: messages across 2^31 and 2^32 are served and deleted, in bounded memory', async () => {
  const places = servePlaces({ [USER]: '', bob: message('bob') });
  let placed = fill(places.mailbox(USER));
  expect(SERVED_BY.uid).toBe(statSync(places.mailbox(USER)).uid);
  const { ino } = statSync(places.mailbox(USER));
  const { server, port } = await serving(places);

  // While it is indexed, others are served.
  const waiting = await Pop3Client.greeted(port);
  await waiting.ok(`USER ${USER}`);
  let indexed = false;
  const login = waiting.ok(`PASS ${passwordOf(USER)}`).then(() => {
    indexed = true;
  });
  const other = await Pop3Client.loggedIn(port, 'bob', passwordOf('bob'));
  await other.multiline('RETR 1');
  await other.ok('QUIT');
  expect(indexed).toBe(false);
  await login;
  await waiting.ok('QUIT');
  await waiting.rest();

  // Only what lies past 2^32 moves.
  let ids = await session(port, placed, [7]);
  placed = placed.filter((_, i) => i !== 6);
  expectFile(places, placed);
  expectSmall(server);

  // A message of 2 GiB goes, and what lay across 2^32 moves below it.
  const left = await session(port, placed, [5]);
  expect(left).toEqual(ids.filter((_, i) => i !== 6));
  ids = left;
  placed = placed.filter((_, i) => i !== 4);
  expectFile(places, placed);
  expectSmall(server);

  // The one across 2^31 goes.
  expect(await session(port, placed, [3])).toEqual(ids.filter((_, i) => i !== 4));
  placed = placed.filter((_, i) => i !== 2);
  expectFile(places, placed);
  await session(port, placed, []);
  expectSmall(server);
  expect(statSync(places.mailbox(USER)).ino).toBe(ino);
  expect(await server.stop()).toBe(0);
});

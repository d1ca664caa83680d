/**
 * Every mailbox of spool-fixtures through the real server: what it says about a message is what it
 * sends, both are what the sidecar says, and after UPDATE the file is exactly the rest (C15, P1, P2).
 */
import { copyFileSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Expected, FIXTURES } from '../clients/expected.js';
import { Pop3Client } from '../support/pop3-client.js';
import { makePlaces, passwordOf, type RealServer, startReal, usersNamed } from '../support/real-server.js';

const names = readdirSync(FIXTURES).filter(name => !name.includes('.') && name !== 'users');
const refused = names.filter(name => 'refused' in JSON.parse(read(`${name}.json`)));
const served = names.filter(name => !refused.includes(name));

function read(name: string): string {
  return readFileSync(join(FIXTURES, name), 'latin1');
}

/** A server over a copy of one example mailbox. */
async function serverOf(user: string): Promise<RealServer> {
  const places = makePlaces();
  copyFileSync(join(FIXTURES, user), join(places.spool, user));
  return startReal(places, usersNamed(user));
}

/** RFC 1939 §7 (TOP) of a message in its wire form. */
function topOf(wire: string, lines: number): string {
  const body = wire.indexOf('\r\n\r\n') + 4;
  // No header at all: the empty line is the first.
  const start = wire.startsWith('\r\n') ? 2 : body < 4 ? wire.length : body;
  const [head, rest] = [wire.slice(0, start), wire.slice(start)];
  return head + (rest.match(/[^\n]*\n/g) ?? []).slice(0, lines).join('');
}

test('there are mailboxes of both kinds', () => {
  expect(served.length).toBeGreaterThanOrEqual(12);
  expect(refused).not.toEqual([]);
});

describe.each(served)('%s', user => {
  const expected = new Expected(user);
  const { count, octets, uniqueIds, wire } = expected;

  test('says and sends what the sidecar says, and changes nothing', async () => {
    const { port, spool } = await serverOf(user);
    const path = join(spool, user);
    const before = statSync(path, { bigint: true });
    const client = await Pop3Client.loggedIn(port, user, passwordOf(user));
    const total = octets.reduce((sum, n) => sum + n, 0);
    expect(await client.ok('STAT')).toBe(`+OK ${count} ${total}`);
    expect(await client.listing('LIST')).toEqual(octets.map((n, i) => `${i + 1} ${n}`));
    expect(await client.listing('UIDL')).toEqual(uniqueIds.map((id, i) => `${i + 1} ${id}`));
    for (const [i, text] of wire.entries()) {
      const n = i + 1;
      expect(await client.ok(`LIST ${n}`)).toBe(`+OK ${n} ${octets[i]}`);
      expect(await client.ok(`UIDL ${n}`)).toBe(`+OK ${n} ${uniqueIds[i]}`);
      const { content } = await client.multiline(`RETR ${n}`);
      expect(content.length).toBe(octets[i]);
      expect(content.toString('latin1') === text, `RETR ${n}`).toBe(true);
      for (const lines of [0, 1, 3, 1_000_000]) {
        const top = await client.multiline(`TOP ${n} ${lines}`);
        expect(top.content.toString('latin1') === topOf(text, lines), `TOP ${n} ${lines}`).toBe(true);
      }
    }
    await client.ok('QUIT');
    expect(await client.rest()).toBe('');
    const after = statSync(path, { bigint: true });
    expect(readFileSync(path, 'latin1') === expected.file).toBe(true);
    expect({ ino: after.ino, mtime: after.mtimeNs }).toEqual({ ino: before.ino, mtime: before.mtimeNs });
  });

  test.each([
    ['every second message', (n: number) => n % 2 === 0],
    ['the others', (n: number) => n % 2 === 1],
    ['the last', (n: number) => n === count],
    ['all of them', () => true],
  ])('deleted: %s', async (_what, isDeleted) => {
    const { port, spool } = await serverOf(user);
    const path = join(spool, user);
    const before = statSync(path);
    const deleted = uniqueIds.map((_, i) => i + 1).filter(isDeleted);
    const client = await Pop3Client.loggedIn(port, user, passwordOf(user));
    for (const n of deleted) await client.ok(`DELE ${n}`);
    await client.ok('QUIT');
    const after = statSync(path);
    expect(readFileSync(path, 'latin1')).toBe(expected.without(deleted));
    expect([after.ino, after.mode, after.uid, after.gid]).toEqual([
      before.ino,
      before.mode,
      before.uid,
      before.gid,
    ]);
    expect(readdirSync(spool)).toEqual([user]);

    // The unique-ids of the rest are what they were, also of identical messages (P6).
    const again = await Pop3Client.loggedIn(port, user, passwordOf(user));
    const left = uniqueIds.filter((_, i) => !isDeleted(i + 1));
    expect(await again.listing('UIDL')).toEqual(left.map((id, i) => `${i + 1} ${id}`));
  });
});

test.each(refused)('%s is no mailbox: refused, untouched, and named in the log', async user => {
  const { port, spool, logged } = await serverOf(user);
  const client = await Pop3Client.greeted(port);
  await client.ok(`USER ${user}`);
  expect(await client.ask(`PASS ${passwordOf(user)}`)).toMatch(/^-ERR \[SYS\/PERM\] /);
  expect(readFileSync(join(spool, user), 'latin1')).toBe(read(user));
  const { offset } = JSON.parse(read(`${user}.json`)).refused;
  expect(logged.filter(line => line.startsWith('warn 127.0.0.1 login-failed '))).toEqual([
    expect.stringContaining(`at offset ${offset}`),
  ]);
});

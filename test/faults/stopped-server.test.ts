/**
 * A server that was stopped for so long that another program took its dotlock for abandoned (maildrop(1)
 * after 60 s, others after 300 to 1024): SIGSTOP, then what such a program does, then SIGCONT. Whether the
 * session was idle or in the middle of a message: it shows no octet of another message, deletes only what
 * its client asked for, and leaves the lock of another program alone.
 */
import {
  appendFileSync,
  chownSync,
  existsSync,
  readdirSync,
  renameSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { describe, expect, test } from 'vitest';
import { message } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { passwordOf } from '../support/real-server.js';
import { SERVED_BY, type ServePlaces, servePlaces, serving } from '../support/serving.js';

const USER = 'alice';
const [M1, M3] = [message(1), message(3)];
/** More than any socket buffer between us holds. */
const M2 = message(2, 'a line of the large message\n'.repeat(500_000));
const MAIL = M1 + M2 + M3;
const LATE = message('late');
const seen = (mail: string) => mail.replace('\nSubject: message 3\n', '\nStatus: RO\nSubject: message 3\n');

/** What has become of the lock when the server goes on. */
const LOCKS: Record<string, (lock: string) => void> = {
  'was removed': lock => unlinkSync(lock),
  'is held by another program': lock => {
    utimesSync(lock, 1, 1);
    unlinkSync(lock);
    writeFileSync(lock, `${process.pid}\n`, { flag: 'wx' });
  },
  'was taken and given back': lock => {
    unlinkSync(lock);
    writeFileSync(lock, `${process.pid}\n`, { flag: 'wx' });
    unlinkSync(lock);
  },
};
/** What has become of the mailbox, and what is left of it when message 1 is deleted; undefined: it may not be. */
const CHANGES: Record<
  string,
  { readonly make: (at: ServePlaces) => void; readonly left: string | undefined }
> = {
  'is as it was': { make: () => {}, left: M2 + M3 },
  'was appended to': { make: at => appendFileSync(at.mailbox(USER), LATE), left: M2 + M3 + LATE },
  'was rewritten': { make: at => writeFileSync(at.mailbox(USER), seen(MAIL)), left: undefined },
  'was rewritten, shorter': { make: at => writeFileSync(at.mailbox(USER), M1 + M3), left: undefined },
  'was replaced': {
    make: at => {
      writeFileSync(`${at.mailbox(USER)}.new`, MAIL, { mode: 0o600 });
      chownSync(`${at.mailbox(USER)}.new`, SERVED_BY.uid, SERVED_BY.gid);
      renameSync(`${at.mailbox(USER)}.new`, at.mailbox(USER));
    },
    left: undefined,
  },
};

const CASES = Object.keys(LOCKS).flatMap(lock => Object.keys(CHANGES).map(change => [lock, change] as const));

/** Stops the server, lets the other program work, and lets the server go on. @returns the mailbox then */
function whileStopped(pid: number, at: ServePlaces, lock: string, change: string): string {
  process.kill(pid, 'SIGSTOP');
  const dotlock = `${at.mailbox(USER)}.lock`;
  expect(existsSync(dotlock)).toBe(true);
  LOCKS[lock]!(dotlock);
  CHANGES[change]!.make(at);
  process.kill(pid, 'SIGCONT');
  return at.content(USER);
}

function expectEnd(at: ServePlaces, lock: string, change: string, reply: string, found: string): void {
  const { left } = CHANGES[change]!;
  if (lock === 'is held by another program') {
    expect(reply).not.toMatch(/^\+OK/);
    expect(at.content(USER) === found).toBe(true);
    expect(readdirSync(at.spool).sort()).toEqual([USER, `${USER}.lock`]);
    return;
  }
  if (left === undefined) {
    expect(reply).not.toMatch(/^\+OK/);
    expect(at.content(USER) === found).toBe(true);
  } else {
    expect(reply).toMatch(/^\+OK/);
    expect(at.content(USER) === left).toBe(true);
  }
  expect(readdirSync(at.spool)).toEqual([USER]);
}

describe.each(CASES)('stopped while the dotlock %s and the mailbox %s', (lock, change) => {
  const start = async () => {
    const at = servePlaces({ [USER]: MAIL });
    const { server, port } = await serving(at, ['--lock-yield', 'never', '--lock-timeout', '0.2']);
    const client = await Pop3Client.loggedIn(port, USER, passwordOf(USER));
    await client.ok('DELE 1');
    return { at, server, client };
  };

  test('idle', async () => {
    const { at, server, client } = await start();
    const found = whileStopped(server.pid, at, lock, change);
    expectEnd(at, lock, change, await client.ask('QUIT'), found);
  });

  test('in the middle of a message', async () => {
    const { at, server, client } = await start();
    client.send('RETR 2\r\nQUIT\r\n');
    expect(await client.line()).toMatch(/^\+OK/);
    client.socket.pause();
    const found = whileStopped(server.pid, at, lock, change);
    client.socket.resume();
    const rest = await client.rest();
    const wire = `${M2.replace(/^.*\n/, '').slice(0, -1).replaceAll('\n', '\r\n')}.\r\n`;
    const whole = rest.startsWith(wire);
    // Cut short, or octet for octet; nothing of another message either way.
    expect(wire.startsWith(rest.slice(0, wire.length))).toBe(true);
    expectEnd(at, lock, change, whole ? rest.slice(wire.length) : '', found);
  });
});

/**
 * Each door driven for real: the super-server of the distribution starts us, curl downloads and deletes, and a
 * raw socket goes through a whole session to its FIN.
 */
import { expect } from 'vitest';
import { mustRun } from '../clients/programs.js';
import { Pop3Client } from '../support/pop3-client.js';
import { testAsRoot } from './as-root.js';
import { DOORS, openDoor } from './doors.js';
import { ALICE, MAIL, MAIL_OF_ALICE, PASSWORD, ScratchHost } from './scratch-host.js';

for (const kind of DOORS) {
  testAsRoot([...kind.programs, 'curl'], kind.name, async () => {
    const host = await ScratchHost.create();
    const own = kind.model === 'per-user';
    host.fill('alice', MAIL_OF_ALICE.join(''), { uid: ALICE.uid, gid: MAIL }, own ? 0o600 : 0o660);
    const { port } = await openDoor(kind, host, ['--idle-exit=1']);
    const curl = (path: string, ...args: string[]) =>
      mustRun('curl', ['-sS', '-u', `alice:${PASSWORD}`, ...args, `pop3://127.0.0.1:${port}/${path}`]);

    const wire = MAIL_OF_ALICE.map(onTheWire);
    expect(await curl('')).toBe(wire.map((text, i) => `${i + 1} ${text.length}\r\n`).join(''));
    expect(await curl('[1-5]')).toBe(wire.join(''));
    await curl('2', '-l', '-X', 'DELE');
    expect(host.content('alice')).toBe(without(2));

    const client = await Pop3Client.loggedIn(port, 'alice', Buffer.from(PASSWORD).toString('latin1'));
    expect(await client.ok('STAT')).toMatch(/^\+OK 4 /);
    expect((await client.multiline('RETR 4')).content.toString('latin1')).toBe(wire[4]);
    await client.ok('DELE 1');
    await client.ok('QUIT');
    // Nothing but POP3, and then the end.
    expect(await client.rest()).toBe('');
    expect(host.content('alice')).toBe(without(1, 2));
    expect(host.spoolNames()).toEqual(['alice']);
    if (kind.logs === 'syslog') {
      const line = await host.logged(/ logout .*deleted=1 .*left=3/);
      // Facility mail, priority info.
      expect(line).toMatch(/^<22>127\.0\.0\.1 logout user=alice reason=quit /);
    } else expect(host.log).toEqual([]);
  });
}

/** As RETR sends it, byte-stuffing undone; the empty line after a message is the mailbox's. */
function onTheWire(mail: string): string {
  return mail
    .replace(/^From .*\n/, '')
    .replace(/\n$/, '')
    .replaceAll('\n', '\r\n');
}

function without(...numbers: number[]): string {
  return MAIL_OF_ALICE.filter((_, i) => !numbers.includes(i + 1)).join('');
}

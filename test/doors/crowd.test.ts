/** Many at once through one door, and the doors that stay: notified, and left when nobody is there. */
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { ServiceManager } from '../support/service-manager.js';
import { testAsRoot } from './as-root.js';
import { DOORS, openDoor } from './doors.js';
import { nowait, SECRET } from './login.js';
import { ALICE, MAIL, MAIL_OF_ALICE, ScratchHost } from './scratch-host.js';

const CROWD = 200;

testAsRoot(
  [],
  `${CROWD} nowait connections at once: each served or told why not, and nothing is left`,
  async () => {
    const host = await ScratchHost.create();
    // Twenty mailboxes; those who share one keep each other out.
    const users = Array.from({ length: 20 }, (_, i) => ({
      name: `user${i}`,
      uid: 62_000 + i,
      gid: 62_000 + i,
    }));
    const mail = messages(CROWD / users.length);
    for (const { name, ...ids } of users) host.fill(name, mail.join(''), { ...ids, gid: MAIL });
    host.setUsers(users.map(({ name, uid, gid }) => `${name}:{PLAIN}x:${uid}:${gid}\n`).join(''));
    // So many programs that start at once take a slow host longer than a login may usually take.
    const door = await nowait(host, ['--failure-delay=0', '--lock-timeout=1', '--login-timeout=600']);
    const outcomes = await Promise.all(
      Array.from({ length: CROWD }, async (_, i) => {
        const client = await Pop3Client.connect(door.port);
        client.send(`USER user${i % users.length}\r\nPASS x\r\nSTAT\r\nDELE 1\r\nQUIT\r\n`);
        const said = await client.rest();
        if (/^\+OK [^\n]*\n\+OK\b[^\n]*\n\+OK [^\n]*\n\+OK \d+ \d+\r\n\+OK [^\n]*\n\+OK [^\n]*\n$/.test(said))
          return 'served';
        return /\n-ERR \[IN-USE\] /.test(said) ? 'in use' : said;
      }),
    );
    expect([...new Set(outcomes)].filter(outcome => !['served', 'in use'].includes(outcome))).toEqual([]);
    expect(await door.exits()).toEqual(Array(CROWD).fill(0));
    const served = outcomes.filter(outcome => outcome === 'served').length;
    expect(served).toBeGreaterThanOrEqual(users.length);
    // Each that was served removed one message: no more, no less.
    const left = users.map(({ name }) => host.content(name).match(/^From /gm)?.length ?? 0);
    expect(CROWD - left.reduce((a, b) => a + b, 0)).toBe(served);
    expect(host.spoolNames()).toEqual(users.map(({ name }) => name).sort());
    for (const { name } of users) {
      expect(readdirSync(join(host.state, name)).sort()).toEqual(['journal', 'journal.plan']);
    }
  },
);

const acceptNo = DOORS.find(({ name }) => name === 'systemd Accept=no, root')!;

for (const workers of [1, 2]) {
  const who = workers === 1 ? '' : `, ${workers} workers`;
  testAsRoot(
    acceptNo.programs,
    `Accept=no${who}: READY, STATUS, STOPPING to the manager; leaves when nobody is there`,
    async () => {
      const host = await ScratchHost.create();
      host.fill('alice', MAIL_OF_ALICE.join(''), { ...ALICE, gid: MAIL }, 0o660);
      const manager = await ServiceManager.start();
      const door = await openDoor(acceptNo, host, ['--idle-exit=1', `--workers=${workers}`], {
        NOTIFY_SOCKET: manager.path,
      });
      const client = await Pop3Client.greeted(door.port);
      await manager.until(said => said.length > 0);
      expect(manager.said()).toEqual([`'READY=1\\nSTATUS=serving ${host.spool}'`]);
      await client.logIn('alice', SECRET);
      // Longer than idle-exit: somebody is there.
      const idle = once(door.superserver, 'exit');
      expect(
        await Promise.race([idle, new Promise(resolve => setTimeout(resolve, 1500, 'still there'))]),
      ).toBe('still there');
      await client.ok('QUIT');
      expect(await client.rest()).toBe('');
      expect(await idle).toEqual([0, null]);
      await manager.until(said => said.length > 1);
      expect(manager.said().slice(1)).toEqual(["'STOPPING=1'"]);
    },
  );
}

const wait = DOORS.find(({ name }) => name === 'inetd wait, root')!;

testAsRoot(wait.programs, 'inetd wait: leaves when idle, and the next client starts it again', async () => {
  const host = await ScratchHost.create();
  const door = await openDoor(wait, host, ['--idle-exit=0.2']);
  for (const times of [1, 2]) {
    const client = await Pop3Client.greeted(door.port);
    await client.ok('QUIT');
    await expect
      .poll(() => host.log.filter(line => line.endsWith('- stopped')).length, { timeout: 20_000 })
      .toBe(times);
  }
  expect(host.log.filter(line => / ready /.test(line))).toHaveLength(2);
});

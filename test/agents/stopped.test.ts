/**
 * A server that is stopped for longer than a delivery agent believes a dotlock: maildrop(1) removes it and delivers.
 * When the server goes on, the session's UPDATE looks at the mailbox again first; every message is there once.
 */
import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import { testAsRoot } from '../doors/as-root.js';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import { AgentHost, PASSWORD } from './agent-host.js';
import { fillMailbox, startServer } from './our-server.js';

const USER = 'alice';
const MAIL = messages(3);
/** Seconds instead of a minute: the same course, only shorter. */
const MAILDROPRC = 'LOCKTIMEOUT=3\nLOCKSLEEP=1\nLOCKREFRESH=1\n';
const NEW = 'Subject: delivered meanwhile\n\nby maildrop\n';

for (const [locks, delivers] of [
  // Of the kernel's locks a stopped process keeps its own: maildrop waits for that one.
  ['dotlock,fcntl', 'afterwards'],
  ['dotlock', 'meanwhile'],
] as const) {
  testAsRoot(['maildrop', 'nsenter'], `maildrop, and a stopped server with --locks ${locks}`, async () => {
    const host = await AgentHost.create([USER]);
    onTestFinished(() => host.close());
    host.write('etc/maildroprc', MAILDROPRC);
    fillMailbox(host, USER, MAIL.join(''));
    const { port, child } = await startServer(host, `--locks=${locks}`, '--lock-yield=never');
    const session = await Pop3Client.loggedIn(port, USER, PASSWORD);
    await session.ok('DELE 2');
    const dotlock = `${host.mailbox(USER)}.lock`;
    const ours = statSync(dotlock).ino;

    process.kill(child.pid!, 'SIGSTOP');
    let over = false;
    const delivery = host.run(['maildrop', '-f', 'bob@example.net', '-d', USER], { input: NEW });
    void delivery.then(() => {
      over = true;
    });
    const owner = () => statSync(dotlock, { throwIfNoEntry: false })?.ino;
    while (!over && (owner() === ours || owner() === undefined)) await sleep(50);
    if (delivers === 'meanwhile') expect((await delivery).code).toBe(0);
    expect(host.content(USER).includes(NEW)).toBe(delivers === 'meanwhile');
    process.kill(child.pid!, 'SIGCONT');

    expect(await session.ask('QUIT')).toMatch(/^\+OK /);
    expect(await delivery).toMatchObject({ code: 0 });
    const content = host.content(USER);
    expect(content.startsWith(MAIL[0]! + MAIL[2]!)).toBe(true);
    expect(content.slice((MAIL[0]! + MAIL[2]!).length)).toMatch(/^From bob@example\.net [^\n]+\n/);
    expect(content.split(NEW)).toHaveLength(2);
    expect(content.match(/^From /gm)).toHaveLength(3);
    const after = await Pop3Client.loggedIn(port, USER, PASSWORD);
    expect(await after.ok('STAT')).toMatch(/^\+OK 3 /);
    await after.ok('QUIT');
  });
}

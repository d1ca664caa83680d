/**
 * Each delivery agent against a POP3 session that holds the mailbox: it is locked out and waits, gets in when the
 * session yields the locks, with the session still open, and nothing is lost or doubled by the deletions after that.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import { testAsRoot } from '../doors/as-root.js';
import { dotlockOf } from '../support/dotlock.js';
import { messages } from '../support/mailbox.js';
import { Pop3Client } from '../support/pop3-client.js';
import type { MakeAgent, Message } from './agent.js';
import { AgentHost, DOMAIN, PASSWORD } from './agent-host.js';
import { exim } from './exim.js';
import { fillMailbox, serve } from './our-server.js';
import { postfix } from './postfix-local.js';
import { dotlockScript, fcntlProgram, maildrop, procmail } from './programs.js';

const USER = 'alice';
/** Deliveries at a time, so that the agents wait for each other, too. */
const DELIVERIES = 3;

const AGENTS: [string, string[], MakeAgent][] = [
  ['Postfix local(8)', ['postconf'], postfix],
  ['procmail', ['procmail'], procmail],
  ['maildrop', ['maildrop'], maildrop],
  ['Exim', ['exim4'], exim],
  ['a script with dotlockfile', ['dotlockfile'], dotlockScript],
  ['a program with fcntl', [], fcntlProgram],
];

for (const [name, programs, make] of AGENTS) {
  testAsRoot([...programs, 'nsenter', 'setpriv'], `${name} waits for a session, then delivers`, async () => {
    const host = await AgentHost.create([USER]);
    onTestFinished(() => host.close());
    const kept = messages(4);
    fillMailbox(host, USER, kept.join(''));
    const port = await serve(host, '--lock-yield=3');
    const agent = await make(host);
    const client = await Pop3Client.loggedIn(port, USER, PASSWORD);
    const ours = dotlockOf(host.mailbox(USER));
    await client.ok('DELE 2');

    let delivered = 0;
    const deliveries = Array.from({ length: DELIVERIES }, async (_, n) => {
      await agent.deliver(USER, letter(`${n}.${name.replace(/\W/g, '')}`));
      delivered++;
    });
    // The locks are ours to begin with, whatever the agent tries; on a slow host that may not be for as long as this.
    await sleep(1000);
    await client.ok('NOOP');
    const now = [host.content(USER), delivered];
    if (ours !== undefined && dotlockOf(host.mailbox(USER)) === ours) expect(now).toEqual([kept.join(''), 0]);

    await Promise.all(deliveries);
    // RFC 1939 §5: what has come since does not appear in this session.
    expect(await client.ok('STAT')).toMatch(/^\+OK 3 /);
    await client.ok('DELE 4');
    await client.ok('QUIT');

    const rest = kept[0]! + kept[2]!;
    expect(host.content(USER).slice(0, rest.length)).toBe(rest);
    const next = await Pop3Client.loggedIn(port, USER, PASSWORD);
    expect(await next.ok('STAT')).toMatch(new RegExp(`^\\+OK ${2 + DELIVERIES} `));
    const texts: string[] = [];
    for (let n = 3; n < 3 + DELIVERIES; n++)
      texts.push((await next.multiline(`RETR ${n}`)).content.toString('latin1'));
    for (let n = 0; n < DELIVERIES; n++) {
      const { text } = letter(`${n}.${name.replace(/\W/g, '')}`);
      const body = text
        .slice(text.indexOf('\n\n'))
        .replaceAll('\n', '\r\n')
        .replace('\r\nFrom ', '\r\n>From ');
      expect(texts.filter(received => received.trimEnd().endsWith(body.trimEnd()))).toHaveLength(1);
    }
    await next.ok('QUIT');
  });
}

const letter = (id: string): Message => ({
  id,
  text: `From: ledger@example.com\nMessage-ID: <${id}@${DOMAIN}>\nSubject: ${id}\n\n.\nFrom the session: ${id}\n\nThe end of ${id}.\n`,
});

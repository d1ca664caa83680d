/**
 * mutt and Dovecot on the same mailboxes: each now and then takes out the messages that are for it, reading them
 * before, and by that rewrites the mailbox, with Status fields of its own in all that stay.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentHost } from '../agents/agent-host.js';
import { type Dovecot, Imap } from '../agents/dovecot.js';
import { mutt, takeOut } from '../agents/mutt.js';
import type { Box } from './boxes.js';
import type { Ledger } from './ledger.js';
import { identify, splitMailbox } from './messages.js';
import type { Random } from './random.js';
import type { Tally } from './tally.js';

export interface ReaderScene {
  readonly host: AgentHost;
  readonly boxes: readonly Box[];
  readonly random: Random;
  readonly tally: Tally;
}

export async function runMutt(
  { host, boxes, random, tally }: ReaderScene,
  stop: () => boolean,
): Promise<void> {
  while (!stop()) {
    const box = random.pick(boxes);
    await muttTakesOut(host, box, tally);
    await sleep(random.between(1000, 4000));
  }
}

async function muttTakesOut(host: AgentHost, box: Box, tally: Tally): Promise<void> {
  const copy = join(host.root, 'home', box.user, 'taken-out');
  rmSync(copy, { force: true });
  const start = performance.now();
  try {
    await mutt(host, box.user, takeOut('~hReader:.mutt', copy));
  } catch (error) {
    box.ledger.problem(String(error));
  }
  tally.time('mutt', performance.now() - start);
  const messages = existsSync(copy) ? splitMailbox(readFileSync(copy, 'latin1')) : [];
  box.ledger.takenOut(
    messages.flatMap(message => copied(message, tally)),
    'mutt',
  );
}

/**
 * mutt copies from where a message was when it opened the mailbox, without a lock: what it copies after another program
 * has changed the mailbox can be anything. That proves nothing: were such a message missing, it would be lost.
 */
function copied(message: string, tally: Tally): { id: string; digest: string }[] {
  try {
    return [identify(message)];
  } catch {
    tally.count('mutt: copied from a mailbox that had changed');
    return [];
  }
}

export async function runDovecot(
  { boxes, random, tally }: ReaderScene,
  { imap }: Dovecot,
  stop: () => boolean,
): Promise<void> {
  while (!stop()) {
    const box = random.pick(boxes);
    const start = performance.now();
    await dovecotTakesOut(imap, box, tally);
    tally.time('Dovecot', performance.now() - start);
    await sleep(random.between(500, 2000));
  }
}

async function dovecotTakesOut(port: number, box: Box, tally: Tally): Promise<void> {
  let imap: Imap | undefined;
  try {
    imap = await Imap.loggedIn(port, box.user);
    await imap.ask('SELECT INBOX');
    const found = /^\* SEARCH((?: \d+)*)/m.exec(
      await imap.ask('UID SEARCH HEADER X-Soak-Reader dovecot'),
    )?.[1];
    const uids = (found ?? '').split(' ').filter(uid => uid !== '');
    if (uids.length > 0) {
      const answer = await imap.ask(`UID FETCH ${uids.join(',')} BODY.PEEK[]`);
      const messages = literals(answer).flatMap(text =>
        identified(box.ledger, text.replaceAll('\r\n', '\n')),
      );
      // From here on they may go, whatever the answers: a flag that is stored late is there for all readers.
      box.ledger.takenOut(messages, 'dovecot');
      await imap.ask(`UID STORE ${uids.join(',')} +FLAGS (\\Deleted)`);
      await imap.ask('EXPUNGE');
    }
    await imap.ask('LOGOUT');
  } catch (error) {
    tally.count(
      `Dovecot: ${String(error)
        .replaceAll(/\d+|\[.*?\]/g, '#')
        .slice(0, 150)}`,
    );
  } finally {
    imap?.close();
  }
}

/** The literals of an IMAP answer (RFC 3501 §4.3). */
function literals(answer: string): string[] {
  const found: string[] = [];
  for (let at = 0; ; ) {
    const match = /BODY\[\] \{(\d+)\}\r\n/.exec(answer.slice(at));
    if (!match) return found;
    const start = at + match.index + match[0].length;
    at = start + Number(match[1]);
    found.push(answer.slice(start, at));
  }
}

/** The message, unless it is none of ours: that is a problem. */
export function identified(ledger: Ledger, message: string): { id: string; digest: string }[] {
  try {
    return [identify(message)];
  } catch (error) {
    ledger.problem(`altered: ${(error as Error).message}`);
    return [];
  }
}
